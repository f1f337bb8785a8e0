#include "formats/tensor_entry.h"

#include <fmt/ranges.h>

#include <limits>

#include "base/checked.h"
#include "base/error.h"

namespace ostro {

std::string shape_text(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

uint64_t element_count(std::span<const int64_t> shape, const std::string& where) {
  // A zero must not hide an overflow among the other sizes, so the product is taken over the sizes that are not zero.
  uint64_t count = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) throw_error(ErrorKind::File, "{}: shape {} has a negative size", where, shape_text(shape));
    if (size == 0) {
      empty = true;
      continue;
    }
    const auto product = checked_mul(count, static_cast<uint64_t>(size));
    if (!product || *product > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw_error(ErrorKind::File, "{}: the element count of shape {} overflows", where, shape_text(shape));
    }
    count = *product;
  }
  return empty ? 0 : count;
}

uint64_t tensor_bytes(DType type, std::span<const int64_t> shape, const std::string& where) {
  const DTypeInfo& entry = info(type);
  const uint64_t count = element_count(shape, where);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % entry.block != 0) {
    throw_error(ErrorKind::File, "{}: rows of {} weights, {} needs a multiple of {}", where, row, entry.name,
                entry.block);
  }
  const auto bytes = checked_mul(count / static_cast<uint64_t>(entry.block), static_cast<uint64_t>(entry.bytes));
  if (!bytes || *bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    throw_error(ErrorKind::File, "{}: the size in bytes of shape {} overflows", where, shape_text(shape));
  }
  return *bytes;
}

}  // namespace ostro
