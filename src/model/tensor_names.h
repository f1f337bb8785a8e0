// The tables of tensor names: how each checkpoint layout spells the tensors of a model, for reading and for writing.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "formats/weight_store.h"
#include "model/weights.h"

namespace ostro {

// How a tensor of a file holds one matrix [out, in] of the model, or those of all experts.
enum class Packing : uint8_t {
  Whole,              // [out, in], a norm [out]
  Experts,            // [experts, out, in]
  ExpertsFirstHalf,   // [experts, 2 * out, in], this role's rows first
  ExpertsSecondHalf,  // [experts, 2 * out, in], this role's rows last
  ExpertRows,         // [experts * out, in]
  ExpertColumns,      // [experts * in, out]: each expert's matrix is transposed
};

// `pattern` holds {layer} and {expert} where their numbers go.
struct TensorName {
  Role role;
  std::string_view pattern;
  Packing packing;
};

// All spellings of a format. For each role the first one is what ostro writes; binding takes the first that the file
// has.
std::span<const TensorName> tensor_names(CheckpointFormat format);
// The first spelling of a role.
const TensorName& written_name(CheckpointFormat format, Role role);
std::string expand(std::string_view pattern, int64_t layer, int64_t expert = -1);

// Tensors that files carry and the model does not read, with the reason.
struct IgnoredTensor {
  std::string_view pattern;
  std::string_view reason;
};
std::span<const IgnoredTensor> ignored_tensors(CheckpointFormat format);

// The order of the rows of query and key weights inside a head.
RopePairing row_order(CheckpointFormat format);

}  // namespace ostro
