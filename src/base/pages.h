// Pages of memory: huge ones for what is read over and over, and what the kernel is told of those of mapped files.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace ostro {

// Zeroed memory of huge pages where the kernel gives them, aligned to one; it is taken as it is written. Throws
// Error(Memory) where there is no address space for it.
std::shared_ptr<std::byte> allocate_huge_pages(size_t bytes);

// Brings the pages of a mapped file in, in its order.
void read_pages(std::span<const std::byte> memory);

// madvise for the whole pages inside a piece of memory, if there are any.
void advise_pages(std::span<const std::byte> memory, int advice);

}  // namespace ostro
