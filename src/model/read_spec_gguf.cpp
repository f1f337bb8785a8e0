// GGUF metadata -> ModelSpec. There is one architecture for dense and sparse models alike: "llama"; with an
// expert_count it is Mixtral.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/read_spec_parts.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace ostro {

namespace {

constexpr std::string_view kPrefix = "llama.";

// Keys of the architecture that are read here or do not change results.
constexpr std::string_view kKnown[] = {"vocab_size",
                                       "context_length",
                                       "embedding_length",
                                       "block_count",
                                       "feed_forward_length",
                                       "expert_feed_forward_length",
                                       "expert_count",
                                       "expert_used_count",
                                       "expert_gating_func",
                                       "expert_weights_norm",
                                       "expert_weights_scale",
                                       "attention.head_count",
                                       "attention.head_count_kv",
                                       "attention.key_length",
                                       "attention.value_length",
                                       "attention.layer_norm_rms_epsilon",
                                       "attention.sliding_window",
                                       "attention.causal",
                                       "rope.dimension_count",
                                       "rope.freq_base",
                                       "rope.scale_linear",
                                       "rope.scaling.type",
                                       "rope.scaling.factor",
                                       "rope.scaling.attn_factor",
                                       "rope.scaling.original_context_length",
                                       "rope.scaling.finetuned",
                                       "rope.scaling.yarn_ext_factor",
                                       "rope.scaling.yarn_attn_factor",
                                       "rope.scaling.yarn_beta_fast",
                                       "rope.scaling.yarn_beta_slow",
                                       "rope.scaling.yarn_log_multiplier",
                                       "tensor_data_layout"};

class Reader {
 public:
  Reader(const WeightStore& store) : store_(store), metadata_(*store.gguf) {}

  LlamaShape read() {
    const auto architecture = metadata_.text("general.architecture");
    if (architecture != "llama") {
      throw_error(ErrorKind::File, "{}: general.architecture is {}, supported: llama", store_.path,
                  architecture ? "\"" + *architecture + "\"" : "missing");
    }
    refuse_unknown_keys();

    LlamaShape shape;
    shape.width = whole("embedding_length");
    shape.layers = whole("block_count");
    shape.context = whole("context_length");
    shape.heads = whole("attention.head_count");
    shape.kv_heads = maybe_whole("attention.head_count_kv").value_or(shape.heads);
    shape.inner = whole("feed_forward_length");
    shape.eps = number("attention.layer_norm_rms_epsilon");
    read_vocabulary(shape);
    read_head_dim(shape);
    read_experts(shape);
    read_window(shape);
    read_rope(shape);
    shape.tied_embeddings = !store_.tensors.contains("output.weight");
    return shape;
  }

 private:
  static std::string key(std::string_view name) { return std::string(kPrefix).append(name); }
  std::optional<int64_t> maybe_whole(std::string_view name) const { return metadata_.integer(key(name)); }
  std::optional<double> maybe_number(std::string_view name) const { return metadata_.number(key(name)); }
  int64_t whole(std::string_view name) const {
    const auto value = maybe_whole(name);
    if (!value) refuse(name, "missing", "a whole number");
    return *value;
  }
  double number(std::string_view name) const {
    const auto value = maybe_number(name);
    if (!value) refuse(name, "missing", "a number");
    return *value;
  }
  template <typename Value>
  [[noreturn]] void refuse(std::string_view name, const Value& found, std::string_view supported) const {
    throw_error(ErrorKind::File, "{}: {} is {}, supported: {}", store_.path, key(name), found, supported);
  }

  void refuse_unknown_keys() const {
    for (const auto& [name, value] : metadata_.values) {
      if (!name.starts_with(kPrefix)) continue;
      const std::string_view rest = std::string_view(name).substr(kPrefix.size());
      if (std::find(std::begin(kKnown), std::end(kKnown), rest) == std::end(kKnown)) {
        throw_error(ErrorKind::File, "{}: {} is not a field that ostro implements for this architecture", store_.path,
                    name);
      }
    }
    if (const auto causal = metadata_.boolean(key("attention.causal")); causal && !*causal) {
      refuse("attention.causal", "false", "true");
    }
  }

  void read_vocabulary(LlamaShape& shape) const {
    const auto* tokens = metadata_.strings("tokenizer.ggml.tokens");
    const auto vocab = maybe_whole("vocab_size");
    if (!vocab && tokens == nullptr) refuse("vocab_size", "missing", "a whole number");
    shape.vocab = vocab ? *vocab : static_cast<int64_t>(tokens->size());
    const auto token = [&](const char* name) -> std::optional<int32_t> {
      const auto id = metadata_.integer(name);
      if (!id) return std::nullopt;
      if (*id < 0 || *id >= shape.vocab) {
        throw_error(ErrorKind::File, "{}: {} is {}, outside the vocabulary of {}", store_.path, name, *id, shape.vocab);
      }
      return static_cast<int32_t>(*id);
    };
    shape.bos = token("tokenizer.ggml.bos_token_id").value_or(-1);
    for (const char* name :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
      const auto id = token(name);
      if (id && std::find(shape.eos.begin(), shape.eos.end(), *id) == shape.eos.end()) shape.eos.push_back(*id);
    }
  }

  void read_head_dim(LlamaShape& shape) const {
    const auto length = maybe_whole("attention.key_length");
    shape.head_dim = length ? *length : default_head_dim(shape.width, shape.heads, store_.path);
    const auto value_length = maybe_whole("attention.value_length");
    if (value_length && *value_length != shape.head_dim) {
      refuse("attention.value_length", *value_length, fmt::format("the same as the keys' {}", shape.head_dim));
    }
  }

  void read_experts(LlamaShape& shape) const {
    shape.experts = maybe_whole("expert_count").value_or(0);
    shape.family = shape.experts > 0 ? "mixtral" : "llama";
    if (shape.experts == 0) return;
    shape.top_k = whole("expert_used_count");
    const int64_t gating = maybe_whole("expert_gating_func").value_or(1);
    if (gating != 1) refuse("expert_gating_func", gating, "1 (softmax)");
    shape.renormalize = metadata_.boolean(key("expert_weights_norm")).value_or(true);
    // 0 stands for no scale.
    const double scale = maybe_number("expert_weights_scale").value_or(0);
    shape.weight_scale = scale == 0 ? 1 : scale;
    const auto inner = maybe_whole("expert_feed_forward_length");
    if (inner && *inner > 0) shape.inner = *inner;
  }

  // llama.cpp neither writes nor reads the window of this architecture. Where a file has it, it was meant.
  void read_window(LlamaShape& shape) const {
    const auto window = maybe_whole("attention.sliding_window");
    if (!window || *window == 0) return;
    if (shape.experts > 0) {
      shape.notes.push_back(fmt::format("{} {} is ignored: Mixtral was trained without a window",
                                        key("attention.sliding_window"), *window));
    } else {
      shape.window = {*window};
    }
  }

  void read_rope(LlamaShape& shape) const {
    const int64_t dims = maybe_whole("rope.dimension_count").value_or(shape.head_dim);
    if (dims < 2 || dims > shape.head_dim || dims % 2 != 0) {
      refuse("rope.dimension_count", dims, fmt::format("an even number up to {}", shape.head_dim));
    }
    RopeScaling scaling = read_scaling();
    if (const auto found = store_.tensors.find("rope_freqs.weight"); found != store_.tensors.end()) {
      if (scaling.kind != RopeScaling::Kind::None) {
        throw_error(ErrorKind::File, "{}: both {} and the tensor rope_freqs.weight scale RoPE", store_.path,
                    key("rope.scaling.type"));
      }
      scaling.kind = RopeScaling::Kind::Divisors;
      scaling.divisors = read_divisors(found->second, dims / 2);
    }
    shape.rope =
        make_rope(row_order(CheckpointFormat::Gguf), dims, maybe_number("rope.freq_base").value_or(10000), scaling);
  }

  RopeScaling read_scaling() const {
    RopeScaling scaling;
    const auto type = metadata_.text(key("rope.scaling.type"));
    const auto older = maybe_number("rope.scale_linear");  // linear scaling in files of 2023
    if (!type && older.value_or(1) != 1) {
      scaling.kind = RopeScaling::Kind::Linear;
      scaling.factor = *older;
    } else if (!type || *type == "none") {
      return scaling;
    } else if (*type == "linear") {
      scaling.kind = RopeScaling::Kind::Linear;
      scaling.factor = number("rope.scaling.factor");
    } else if (*type == "yarn") {
      scaling.kind = RopeScaling::Kind::Yarn;
      scaling.factor = number("rope.scaling.factor");
      scaling.original_context = number("rope.scaling.original_context_length");
      scaling.beta_fast = maybe_number("rope.scaling.yarn_beta_fast").value_or(scaling.beta_fast);
      scaling.beta_slow = maybe_number("rope.scaling.yarn_beta_slow").value_or(scaling.beta_slow);
      if (const double ext = maybe_number("rope.scaling.yarn_ext_factor").value_or(1); ext != 1) {
        refuse("rope.scaling.yarn_ext_factor", ext, "1");
      }
      if (const double log = maybe_number("rope.scaling.yarn_log_multiplier").value_or(0); log != 0) {
        refuse("rope.scaling.yarn_log_multiplier", log, "0");
      }
      scaling.magnitude = maybe_number("rope.scaling.attn_factor").value_or(1) *
                          maybe_number("rope.scaling.yarn_attn_factor").value_or(1) *
                          (1 + 0.1 * std::log(std::max(scaling.factor, 1.0)));
    } else {
      refuse("rope.scaling.type", *type, "none, linear, yarn");
    }
    return scaling;
  }

  std::vector<double> read_divisors(const TensorEntry& tensor, int64_t pairs) const {
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

  const WeightStore& store_;
  const GgufMetadata& metadata_;
};

}  // namespace

ModelSpec read_gguf_spec(const WeightStore& store) {
  CHECK(store.gguf.has_value());
  return assemble(Reader(store).read(), store.path);
}

}  // namespace ostro
