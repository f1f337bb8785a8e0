// Brings mapped weights into memory in the order of the file, at the speed of the disk, instead of page by page when
// the first token needs them.
#pragma once

#include <cstdint>
#include <functional>

#include "formats/weight_store.h"

namespace ostro {

// `progress` may be null.
void read_ahead(const WeightStore& store, const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace ostro
