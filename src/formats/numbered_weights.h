// Tensors from checkpoints of JAX programs: one pickle a tensor, in files tensor00000_000, tensor00001_000, ... Which
// number is which parameter the files do not say; model/ knows.
#pragma once

#include <string>

#include "formats/array_pickle.h"
#include "formats/tensor_entry.h"
#include "formats/weight_copies.h"

namespace ostro {

// A tensor under `name`. Plain arrays keep type and shape. 8-bit weights [.., in, out] become [.., out, in], as rows of
// weights lie everywhere else, with the same values: in Q8_0 where every scale is a binary16 too and holds for whole
// blocks of 32, so that they stay 8 bits wide and go through the kernels of that type; in F32 otherwise.
// The entry of those points to a copy that is planned, not made. `file` begins the messages of Error(File).
TensorEntry numbered_tensor(const PickledWeight& weight, const std::string& name, const std::string& file,
                            WeightCopies& copies);

}  // namespace ostro
