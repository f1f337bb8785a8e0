// A model of a given shape with random weights, for measuring speed without a download.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "model/load_model.h"
#include "model/quant_mix.h"

namespace ostro {

// Bytes of its matrices.
uint64_t random_model_bytes(const ModelSpec& spec, const QuantMix& mix);

// Weights are normal numbers quantised for real; rows are drawn from a pool of such, so that many gigabytes take
// seconds. Routers are random throughout, so experts are used about evenly. The store holds GGUF metadata with a
// placeholder tokenizer, so that the model can be written as a file that others load. `progress`, which may be null, is
// called with the bytes made so far.
std::unique_ptr<Model> random_model(const ModelSpec& spec, const QuantMix& mix, uint64_t seed,
                                    const std::function<void(uint64_t done)>& progress = nullptr);

}  // namespace ostro
