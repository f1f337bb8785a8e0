#include "model/gguf_fields.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tensor/quant.h"

namespace ostro {

GgufFields::GgufFields(const WeightStore& store, std::string_view architecture)
    : store_(store), prefix_(std::string(architecture) + ".") {
  CHECK(store.gguf.has_value());
}

std::string GgufFields::marked(std::string_view name) {
  read_.emplace(name);
  return key(name);
}

std::optional<int64_t> GgufFields::maybe_whole(std::string_view name) { return store_.gguf->integer(marked(name)); }
std::optional<double> GgufFields::maybe_number(std::string_view name) { return store_.gguf->number(marked(name)); }
std::optional<bool> GgufFields::maybe_flag(std::string_view name) { return store_.gguf->boolean(marked(name)); }
std::optional<std::string> GgufFields::maybe_text(std::string_view name) { return store_.gguf->text(marked(name)); }

int64_t GgufFields::whole(std::string_view name) {
  const auto value = maybe_whole(name);
  if (!value) refuse(name, "missing", "a whole number");
  return *value;
}

double GgufFields::number(std::string_view name) {
  const auto value = maybe_number(name);
  if (!value) refuse(name, "missing", "a number");
  return *value;
}

void GgufFields::harmless(std::initializer_list<std::string_view> names) { read_.insert(names.begin(), names.end()); }

void GgufFields::refuse_unread() const {
  for (const auto& [name, value] : store_.gguf->values) {
    if (!name.starts_with(prefix_) || read_.contains(std::string_view(name).substr(prefix_.size()))) continue;
    throw_error(ErrorKind::File, "{}: {} is not a field that ostro implements for this architecture", where(), name);
  }
}

GgufVocabulary read_gguf_vocabulary(GgufFields& fields) {
  const WeightStore& store = fields.store();
  const GgufMetadata& metadata = *store.gguf;
  GgufVocabulary out;
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  const auto vocab = fields.maybe_whole("vocab_size");
  if (!vocab && tokens == nullptr) fields.refuse("vocab_size", "missing", "a whole number");
  out.size = vocab ? *vocab : static_cast<int64_t>(tokens->size());
  const auto token = [&](const char* name) -> std::optional<int32_t> {
    const auto id = metadata.integer(name);
    if (!id) return std::nullopt;
    if (*id < 0 || *id >= out.size) {
      throw_error(ErrorKind::File, "{}: {} is {}, outside the vocabulary of {}", store.path, name, *id, out.size);
    }
    return static_cast<int32_t>(*id);
  };
  out.bos = token("tokenizer.ggml.bos_token_id").value_or(-1);
  for (const char* name :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto id = token(name);
    if (id && std::find(out.eos.begin(), out.eos.end(), *id) == out.eos.end()) out.eos.push_back(*id);
  }
  return out;
}

RopeScaling read_gguf_scaling(GgufFields& fields) {
  RopeScaling scaling;
  const auto type = fields.maybe_text("rope.scaling.type");
  const auto older = fields.maybe_number("rope.scale_linear");  // linear scaling in files of 2023
  if (!type && older.value_or(1) != 1) {
    scaling.kind = RopeScaling::Kind::Linear;
    scaling.factor = *older;
  } else if (!type || *type == "none") {
    return scaling;
  } else if (*type == "linear") {
    scaling.kind = RopeScaling::Kind::Linear;
    scaling.factor = fields.number("rope.scaling.factor");
  } else if (*type == "yarn") {
    scaling.kind = RopeScaling::Kind::Yarn;
    scaling.factor = fields.number("rope.scaling.factor");
    scaling.original_context = fields.number("rope.scaling.original_context_length");
    scaling.beta_fast = fields.maybe_number("rope.scaling.yarn_beta_fast").value_or(scaling.beta_fast);
    scaling.beta_slow = fields.maybe_number("rope.scaling.yarn_beta_slow").value_or(scaling.beta_slow);
    if (const double ext = fields.maybe_number("rope.scaling.yarn_ext_factor").value_or(1); ext != 1) {
      fields.refuse("rope.scaling.yarn_ext_factor", ext, "1");
    }
    // Stored as float32: the shortest decimal is what was meant.
    const auto log = static_cast<float>(fields.maybe_number("rope.scaling.yarn_log_multiplier").value_or(0));
    scaling.score_mscale = 10 * std::strtod(fmt::format("{}", log).c_str(), nullptr);
    scaling.magnitude = fields.maybe_number("rope.scaling.attn_factor").value_or(1) *
                        fields.maybe_number("rope.scaling.yarn_attn_factor").value_or(1) *
                        yarn_magnitude(scaling.factor, 1);
  } else {
    fields.refuse("rope.scaling.type", *type, "none, linear, yarn");
  }
  return scaling;
}

namespace {

std::vector<double> read_divisors(const TensorEntry& tensor, int64_t pairs) {
  if (tensor.dtype != DType::F32 || tensor.shape != std::vector<int64_t>{pairs}) {
    throw_error(ErrorKind::File, "{}: tensor rope_freqs.weight is {} [{}], expected f32 [{}]", tensor.file,
                info(tensor.dtype).name, fmt::join(tensor.shape, ", "), pairs);
  }
  std::vector<float> values(static_cast<size_t>(pairs));
  dequantize_row(tensor.dtype, tensor.bytes.data(), values);
  for (const float value : values) {
    if (!(value > 0) || !std::isfinite(value)) {
      throw_error(ErrorKind::File, "{}: tensor rope_freqs.weight holds {}, expected positive numbers", tensor.file,
                  value);
    }
  }
  return {values.begin(), values.end()};
}

}  // namespace

RopeSpec read_gguf_rope(GgufFields& fields, RopePairing pairing, int64_t head_dim) {
  const WeightStore& store = fields.store();
  const int64_t dims = fields.maybe_whole("rope.dimension_count").value_or(head_dim);
  if (dims < 2 || dims > head_dim || dims % 2 != 0) {
    fields.refuse("rope.dimension_count", dims, fmt::format("an even number up to {}", head_dim));
  }
  RopeScaling scaling = read_gguf_scaling(fields);
  if (scaling.score_mscale != 0) {
    fields.refuse("rope.scaling.yarn_log_multiplier", scaling.score_mscale / 10, "0");
  }
  if (const auto found = store.tensors.find("rope_freqs.weight"); found != store.tensors.end()) {
    if (scaling.kind != RopeScaling::Kind::None) {
      throw_error(ErrorKind::File, "{}: both rope.scaling.type and the tensor rope_freqs.weight scale RoPE",
                  store.path);
    }
    scaling.kind = RopeScaling::Kind::Divisors;
    scaling.divisors = read_divisors(found->second, dims / 2);
  }
  return make_rope(pairing, dims, fields.maybe_number("rope.freq_base").value_or(10000), scaling);
}

}  // namespace ostro
