// From a checkpoint's own description (config.json, params.json, GGUF metadata) to a ModelSpec. Here and in the tables
// of tensor names alone are model families known by name.
#pragma once

#include "formats/weight_store.h"
#include "model/spec.h"

namespace ostro {

// Throws Error(File) naming the field, its value and what is supported: for an architecture that is not known, a field
// that is missing or of the wrong type, and a field that would change results and is not implemented.
ModelSpec read_spec(const WeightStore& store);

}  // namespace ostro
