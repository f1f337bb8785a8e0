#include "engine/read_ahead.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace ostro {
namespace {

constexpr size_t kPiece = size_t{32} << 20;

// Maps the pages of a piece in; one byte of each where the kernel (before 5.14) cannot do it at once.
void touch(std::span<const std::byte> piece, size_t page) {
#ifdef MADV_POPULATE_READ
  if (madvise(const_cast<std::byte*>(piece.data()), piece.size(), MADV_POPULATE_READ) == 0) return;
#endif
  for (size_t i = 0; i < piece.size(); i += page) {
    const volatile std::byte* byte = &piece[i];
    static_cast<void>(*byte);
  }
}

}  // namespace

void read_ahead(const WeightStore& store, const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  uint64_t total = 0, done = 0;
  for (const auto& file : store.files) total += file->bytes().size();
  for (const auto& file : store.files) {
    const auto bytes = file->bytes();
    for (size_t at = 0; at < bytes.size(); at += kPiece) {
      const auto piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      touch(piece, page);
      done += piece.size();
      if (progress) progress(done, total);
    }
  }
}

}  // namespace ostro
