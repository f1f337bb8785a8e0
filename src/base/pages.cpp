#include "base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "base/error.h"

namespace ostro {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

uintptr_t page_size() { return static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

std::shared_ptr<std::byte> allocate_huge_pages(size_t bytes) {
  const size_t size = bytes + kHugePage;
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw_error(ErrorKind::Memory, "no address space for {} bytes", bytes);
  const std::shared_ptr<void> owner(memory, [size](void* at) { munmap(at, size); });
  const size_t past = reinterpret_cast<uintptr_t>(memory) % kHugePage;
  std::byte* const aligned = static_cast<std::byte*>(memory) + (kHugePage - past) % kHugePage;
  // Where the kernel will not, small pages serve too, as they do for what is left over at the end.
  if (bytes > 0) madvise(aligned, bytes, MADV_HUGEPAGE);
  return {owner, aligned};
}

void read_pages(std::span<const std::byte> memory) {
  const uintptr_t page = page_size(), begin = reinterpret_cast<uintptr_t>(memory.data());
#ifdef MADV_POPULATE_READ
  void* const first = reinterpret_cast<void*>(begin / page * page);
  if (madvise(first, memory.size() + begin % page, MADV_POPULATE_READ) == 0) return;
#endif
  // Before Linux 5.14: one byte of each.
  for (size_t i = 0; i < memory.size(); i += page) {
    const volatile std::byte* byte = &memory[i];
    static_cast<void>(*byte);
  }
}

void advise_pages(std::span<const std::byte> memory, int advice) {
  const uintptr_t page = page_size(), begin = reinterpret_cast<uintptr_t>(memory.data());
  const uintptr_t first = (begin + page - 1) / page * page, last = (begin + memory.size()) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, advice);
}

}  // namespace ostro
