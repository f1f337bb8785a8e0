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
  ExpertsTransposed,  // [experts, in, out]
  Row,                // [1, in], a vector as a matrix of one row
  Transposed,         // [in, out]
  // [experts, 2 * out, in], and [experts, in, 2 * out]: rows, or columns, of this role alternate with those of another;
  // of biases [experts, 2 * out].
  ExpertsEvenRows,
  ExpertsOddRows,
  ExpertsEvenColumns,
  ExpertsOddColumns,
  QueryKeyValueRows,  // [(heads + 2 kv_heads) * head_dim, in]: the rows of query, key and value
};

// `pattern` holds {layer} and {expert} where their numbers go.
struct TensorName {
  Role role;
  std::string_view pattern;
  Packing packing;
};

// Tensors that files carry and the model does not read, with the reason.
struct IgnoredTensor {
  std::string_view pattern;
  std::string_view reason;
};

// How the checkpoints of some families spell their tensors in one format.
struct NameTable {
  CheckpointFormat format = CheckpointFormat::HuggingFace;
  std::span<const std::string_view> families;
  // All spellings. For each role the first one is what ostro writes; binding takes the first that the file has.
  std::span<const TensorName> names;
  std::span<const IgnoredTensor> ignored;
  RopePairing row_order = RopePairing::HalfSplit;  // of the rows of query and key weights inside a head
};
// Throws Error(File) where a family has no such layout.
const NameTable& name_table(CheckpointFormat format, std::string_view family);
bool has_name(const NameTable& table, Role role);
// The first spelling of a role; in a layout that has MXFP4 in pairs of tensors, one of such a pair for that type alone.
// Throws Error(File) where the layout has none.
const TensorName& written_name(const NameTable& table, Role role, DType type = DType::F32);
bool is_pair(const TensorName& name);
// Numbered pickles lie in the order of their parameters' sorted names (layer 10 before layer 2): gives them the names.
// Throws Error(File) where the number of files fits no number of layers.
void name_numbered_tensors(WeightStore& store);
std::string expand(std::string_view pattern, int64_t layer, int64_t expert = -1);

// The tables, each group of families in a file of its own, tensor_names_<family>.cpp.
std::span<const NameTable> deepseek_name_tables();
std::span<const NameTable> llama_name_tables();
std::span<const NameTable> openmoe_name_tables();
std::span<const NameTable> qwen_name_tables();
std::span<const NameTable> dbrx_name_tables();
std::span<const NameTable> grok_name_tables();
std::span<const NameTable> gpt_oss_name_tables();

}  // namespace ostro
