// Strict binding: every layout gives the same matrices, and whatever is missing, left over or misshapen is named.
#include "model/weights.h"

#include <algorithm>

#include "model/read_spec.h"
#include "model/support.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace ostro::test {
namespace {

std::vector<float> floats_of(const Matrix& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  for (int64_t r = 0; r < matrix.rows; ++r) {
    const auto cols = static_cast<size_t>(matrix.cols);
    dequantize_row(matrix.dtype, matrix.row(r), std::span(values).subspan(static_cast<size_t>(r) * cols, cols));
  }
  return values;
}

// All matrices by name. The rows of queries and keys are brought into one order.
std::map<std::string, std::vector<float>> matrices_of(const Model& model) {
  std::map<std::string, std::vector<float>> all;
  visit_matrices(model.spec, model.weights, [&](const TensorId& id, const Matrix& matrix) {
    auto values = floats_of(matrix);
    const auto& gqa = std::get<GqaSpec>(model.spec.blocks[0].mixer);
    if ((id.role == Role::Query || id.role == Role::Key) && gqa.rope.pairing == RopePairing::Interleaved) {
      const auto cols = matrix.cols, half = gqa.head_dim / 2;
      auto sorted = values;
      for (int64_t r = 0; r < matrix.rows; ++r) {
        const int64_t head = r / gqa.head_dim, i = r % gqa.head_dim;
        const int64_t to = head * gqa.head_dim + i / 2 + i % 2 * half;
        std::copy_n(values.begin() + r * cols, cols, sorted.begin() + to * cols);
      }
      values = std::move(sorted);
    }
    all[to_text(id)] = std::move(values);
  });
  return all;
}

TEST(Binding, EveryLayoutGivesTheSameMatrices) {
  const auto expected = matrices_of(*load_model(fixture("models/mixtral").string()));
  EXPECT_EQ(expected.size(), 2 + 3 * (4 + 1 + 8 * 3u));
  for (const char* layout :
       {"mixtral-sharded", "mixtral-bin", "mixtral-native", "mixtral-native-stacked", "mixtral.gguf"}) {
    EXPECT_EQ(matrices_of(*load_model(fixture(std::string("models/") + layout).string())), expected) << layout;
  }
}

// A store whose tensors can be replaced.
struct Editable {
  WeightStore store;
  ModelSpec spec;

  explicit Editable(const std::string& name)
      : store(open_weights(fixture("models/" + name).string())), spec(read_spec(store)) {
    root = fixture("models/" + name).string();
  }
  std::string root;

  // The tensors one after the other as a new one; the old ones go.
  void merge(const std::vector<std::string>& names, const std::string& merged, std::vector<int64_t> shape) {
    auto bytes = std::make_shared<std::vector<std::byte>>();
    TensorEntry entry = store.tensors.at(names.front());
    for (const std::string& name : names) {
      const auto part = store.tensors.at(name).bytes;
      bytes->insert(bytes->end(), part.begin(), part.end());
    }
    for (const std::string& name : names) store.tensors.erase(name);
    entry.name = merged;
    entry.shape = std::move(shape);
    entry.bytes = *bytes;
    store.tensors[merged] = entry;
    store.copies.push_back(bytes);
  }

  std::string refusal() {
    std::string message = message_of([&] { bind_weights(spec, store); });
    for (size_t at; (at = message.find(root)) != std::string::npos;) message.replace(at, root.size(), "ROOT");
    return message;
  }
};

TEST(Binding, MergedExpertsOfNewerTools) {
  const Model published{open_weights(fixture("models/mixtral").string()), {}, {}};
  Editable model("mixtral");
  for (int64_t layer = 0; layer < 3; ++layer) {
    const std::string old = "model.layers." + std::to_string(layer) + ".block_sparse_moe.";
    const std::string now = "model.layers." + std::to_string(layer) + ".mlp.";
    std::vector<std::string> gate_up, down;
    for (int64_t e = 0; e < 8; ++e) {
      gate_up.push_back(old + "experts." + std::to_string(e) + ".w1.weight");
      gate_up.push_back(old + "experts." + std::to_string(e) + ".w3.weight");
      down.push_back(old + "experts." + std::to_string(e) + ".w2.weight");
    }
    model.merge(gate_up, now + "experts.gate_up_proj", {8, 64, 64});
    model.merge(down, now + "experts.down_proj", {8, 64, 32});
    model.merge({old + "gate.weight"}, now + "gate.weight", {8, 64});
  }
  const Model merged{model.store, model.spec, bind_weights(model.spec, model.store)};
  EXPECT_EQ(matrices_of(merged), matrices_of(*load_model(fixture("models/mixtral").string())));
}

TEST(Binding, GgufGateAndUpInOne) {
  Editable model("mixtral-per-expert.gguf");
  for (int64_t layer = 0; layer < 3; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".ffn_";
    std::vector<std::string> gate_up;
    for (int64_t e = 0; e < 8; ++e) {
      gate_up.push_back(block + "gate." + std::to_string(e) + ".weight");
      gate_up.push_back(block + "up." + std::to_string(e) + ".weight");
    }
    model.merge(gate_up, block + "gate_up_exps.weight", {8, 64, 64});
  }
  const Model merged{model.store, model.spec, bind_weights(model.spec, model.store)};
  EXPECT_EQ(matrices_of(merged), matrices_of(*load_model(fixture("models/mixtral-per-expert.gguf").string())));
}

TEST(Binding, MissingTensorsAreNamed) {
  Editable model("mistral-full");
  model.store.tensors.erase("model.layers.1.self_attn.k_proj.weight");
  EXPECT_EQ(model.refusal(),
            "ROOT: no tensor model.layers.1.self_attn.k_proj.weight [32, 96] (layer 1, key projection)");
  Editable experts("mixtral-per-expert.gguf");
  experts.store.tensors.erase("blk.2.ffn_up.5.weight");
  EXPECT_EQ(experts.refusal(), "ROOT: no tensor blk.2.ffn_up.5.weight [32, 64] (layer 2, expert 5, up projection)");
}

TEST(Binding, MisshapenTensorsAreNamed) {
  Editable model("mistral-full.gguf");
  model.store.tensors.at("blk.0.attn_v.weight").shape = {96, 32};
  EXPECT_EQ(model.refusal(),
            "ROOT: tensor blk.0.attn_v.weight (layer 0, value projection) has the shape [96, 32], expected [32, 96]");
  Editable norm("mistral-full.gguf");
  norm.store.tensors.at("output_norm.weight").shape = {95};
  EXPECT_EQ(norm.refusal(), "ROOT: tensor output_norm.weight (final norm) has the shape [95], expected [96]");
}

TEST(Binding, NothingIsLeftOver) {
  Editable model("mistral-full.gguf");
  model.store.tensors["blk.0.attn_q.bias"] = model.store.tensors.at("blk.0.attn_norm.weight");
  model.store.tensors["blk.0.attn_q.bias"].name = "blk.0.attn_q.bias";
  EXPECT_EQ(model.refusal(), "ROOT: tensor blk.0.attn_q.bias [96] has no place in this model");
}

TEST(Binding, ASecondSpellingIsLeftOver) {
  Editable model("mixtral");
  TensorEntry copy = model.store.tensors.at("model.layers.0.block_sparse_moe.gate.weight");
  copy.name = "model.layers.0.mlp.gate.weight";
  model.store.tensors[copy.name] = copy;
  EXPECT_NE(model.refusal().find("tensor model.layers.0.mlp.gate.weight [8, 64] has no place"), std::string::npos);
}

TEST(Binding, KnownTensorsWithoutUseAreExplained) {
  Editable model("mistral-full");
  TensorEntry frequencies = model.store.tensors.at("model.norm.weight");
  frequencies.name = "model.layers.1.self_attn.rotary_emb.inv_freq";
  model.store.tensors[frequencies.name] = frequencies;
  const auto notes = bind_weights(model.spec, model.store).notes;
  EXPECT_EQ(notes, std::vector<std::string>{"model.layers.{layer}.self_attn.rotary_emb.inv_freq is not read: RoPE "
                                            "frequencies, computed from the configuration"});
}

TEST(Binding, TiedEmbeddingsMayBeRepeatedButNotDiffer) {
  Editable model("llama3");
  TensorEntry head = model.store.tensors.at("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  model.store.tensors[head.name] = head;
  EXPECT_EQ(bind_weights(model.spec, model.store).output.data, head.bytes.data());
  std::vector<std::byte> other(head.bytes.begin(), head.bytes.end());
  other[100] ^= std::byte{1};
  model.store.tensors[head.name].bytes = other;
  EXPECT_NE(model.refusal().find("lm_head.weight differs from the token embeddings"), std::string::npos);
}

TEST(Binding, NotANumberInANormIsFound) {
  Editable model("mistral-full.gguf");
  TensorEntry& norm = model.store.tensors.at("blk.1.ffn_norm.weight");
  std::vector<float> values(96, 1.0f);
  values[17] = std::numeric_limits<float>::quiet_NaN();
  norm.bytes = std::as_bytes(std::span(values));
  EXPECT_EQ(model.refusal(),
            "ROOT: tensor blk.1.ffn_norm.weight (layer 1, feed-forward norm) holds nan at 17, expected finite numbers");
}

TEST(VerifyFinite, NamesMatrixAndRow) {
  Editable model("mixtral");
  TensorEntry& w2 = model.store.tensors.at("model.layers.1.block_sparse_moe.experts.6.w2.weight");
  std::vector<std::byte> bytes(w2.bytes.begin(), w2.bytes.end());
  w2.bytes = bytes;
  const Weights weights = bind_weights(model.spec, model.store);
  uint64_t read = 0;
  verify_finite(model.spec, weights, "FILE", 2, [&](uint64_t done) { read = done; });
  EXPECT_GT(read, 400000u);
  bytes[2 * (40 * 32 + 3) + 1] = std::byte{0x7f};  // BF16 0x7f80 and above: infinity or NaN
  bytes[2 * (40 * 32 + 3)] = std::byte{0x80};
  EXPECT_EQ(message_of([&] { verify_finite(model.spec, weights, "FILE", 2); }),
            "FILE: layer 1, expert 6, down projection: row 40 holds a value that is not finite");
}

// Whatever is written under the first spelling of a role is found again.
TEST(TensorNames, EachFormatSpellsEachRole) {
  for (const auto format : {CheckpointFormat::HuggingFace, CheckpointFormat::Mistral, CheckpointFormat::Gguf}) {
    const NameTable& table = name_table(format, "mixtral");
    for (const TensorName& spelling : table.names) {
      const TensorName& name = written_name(table, spelling.role);
      const std::string spelled = expand(name.pattern, 3, 5);
      EXPECT_EQ(spelled.find('{'), std::string::npos) << spelled;
    }
  }
  EXPECT_EQ(message_of([] { written_name(name_table(CheckpointFormat::Gguf, "mixtral"), Role::ExtraUp); }),
            "GGUF has no name for the second up projection in models of this family");
  EXPECT_EQ(expand("blk.{layer}.ffn_up.{expert}.weight", 3, 5), "blk.3.ffn_up.5.weight");
}

}  // namespace
}  // namespace ostro::test
