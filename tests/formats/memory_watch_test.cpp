// Replaces operator new of this test program by one that notes the largest request, for the tests of hostile files.
#include "formats/support.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<size_t> largest = 0;
}

// Kept out of line: the compiler must not see free() meet operator new. Both forms of new are replaced, because
// std::stable_sort takes its buffer from the one that does not throw, and a sanitizer would answer that one itself.
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
  size_t seen = largest.load();
  while (size > seen && !largest.compare_exchange_weak(seen, size)) {
  }
  return std::malloc(size > 0 ? size : 1);
}
[[gnu::noinline]] void* operator new(size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace ostro {

size_t test::largest_request() { return largest.exchange(0); }

TEST(MemoryWatch, NotesTheLargestRequest) {
  test::largest_request();
  const std::vector<char> small(100), large(12'345);
  EXPECT_EQ(test::largest_request(), 12'345u);
  EXPECT_EQ(test::largest_request(), 0u);
}

}  // namespace ostro
