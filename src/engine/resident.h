// Weights in the memory where decoding reads them fastest: of huge pages, interleaved where the backend reads that.
// Mapped files lie in pages of 4 KiB, which cost a third of the bandwidth.
#pragma once

#include <cstdint>
#include <functional>

#include "backend/backend.h"
#include "model/load_model.h"

namespace ostro {

// Copies each matrix out of the model's files, of which nothing stays resident behind the copying, and interleaves in
// place what was already a copy: at no time are there two copies. `progress` may be null.
void make_resident(Model& model, const Backend& backend,
                   const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace ostro
