// What the tests of the model share: the fixtures' references, and running a model over a prompt.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "formats/safetensors.h"
#include "model/decoder.h"
#include "model/load_model.h"
#include "support/support.h"

namespace ostro::test {

// A model among the committed fixtures or the shared ones; nullopt where it is in neither.
inline std::optional<std::filesystem::path> find_model(const std::string& name) {
  const auto own = std::filesystem::path(OSTRO_SOURCE_DIR) / "tests" / "fixtures" / "models" / name;
  if (std::filesystem::exists(own)) return own;
  for (const char* folder : {"models", "models-relatives", "models-grok-openmoe"}) {
    if (auto found = shared(std::string("fixtures/") + folder + "/" + name)) return found;
  }
  return std::nullopt;
}
inline std::unique_ptr<Model> load_fixture(const std::string& name) { return load_model(find_model(name)->string()); }

// The tensors of a reference.safetensors.
class Reference {
 public:
  explicit Reference(const std::string& name)
      : file_(open_safetensors((*find_model(name) / "reference.safetensors").string())) {
    std::ifstream json(*find_model(name) / "reference.json");
    const auto facts = nlohmann::json::parse(json);
    // The scripts that made the fixtures differ in the name.
    const bool flat = facts.contains("float32_error_of_logits");
    const auto& error = flat ? facts.at("float32_error_of_logits") : facts.at("float32_error").at("logits");
    logit_error = error.at("max_abs").get<double>();
    logit_deviation = facts.at("logits_std").get<double>();
  }

  bool has(const std::string& name) const { return file_.tensors.contains(name); }
  std::vector<float> floats(const std::string& name) const { return values<float>(name, "F32"); }
  std::vector<int32_t> integers(const std::string& name) const { return values<int32_t>(name, "I32"); }

  double logit_error = 0;      // of the reference's code in float32
  double logit_deviation = 0;  // standard deviation of the logits

 private:
  template <typename T>
  std::vector<T> values(const std::string& name, const std::string& dtype) const {
    const SafetensorsTensor& tensor = file_.tensors.at(name);
    EXPECT_EQ(tensor.dtype, dtype);
    std::vector<T> out(tensor.bytes.size() / sizeof(T));
    std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
    return out;
  }

  SafetensorsFile file_;
};

// Rows [position, position + count) of `tokens` for one sequence, all logits wanted.
inline void add_rows(Batch& batch, int32_t sequence, const std::vector<int32_t>& tokens, int64_t position,
                     int64_t count) {
  batch.sequences.push_back({sequence, batch.rows(), count});
  for (int64_t i = 0; i < count; ++i) {
    batch.logit_rows.push_back(batch.rows());
    batch.tokens.push_back(tokens.at(static_cast<size_t>(position + i)));
    batch.positions.push_back(position + i);
  }
}

// A model on a backend with a cache, and what it said last.
struct Runner {
  const Model& model;
  std::unique_ptr<Backend> backend;
  Decoder decoder;
  KvCache cache;
  Activations acts;

  Runner(const Model& m, const BackendOptions& options, const KvCacheOptions& cache_options)
      : model(m),
        backend(make_cpu_backend(options)),
        decoder(m.spec, m.weights, *backend),
        cache(m.spec, cache_options) {}

  // Appends to `logits` those of every row.
  void run(const Batch& batch, std::vector<float>& logits, const ForwardHooks& hooks = {}) {
    const auto values = decoder.forward(batch, cache, acts, hooks).values();
    logits.insert(logits.end(), values.begin(), values.end());
  }
  void run(int32_t sequence, const std::vector<int32_t>& tokens, int64_t position, int64_t count,
           std::vector<float>& logits, const ForwardHooks& hooks = {}) {
    Batch batch;
    add_rows(batch, sequence, tokens, position, count);
    run(batch, logits, hooks);
  }
};

inline KvCacheOptions cache_of(DType type, int64_t context = 256, int64_t chunk = 256, int32_t sequences = 1) {
  return {context, chunk, sequences, type, type};
}

// The message of the Error that `act` throws; empty, and a failure, when it throws none.
template <typename Act>
std::string message_of(Act act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace ostro::test

// Skips the test where the fixture is not there.
#define OSTRO_MODEL_OR_SKIP(name) \
  if (!::ostro::test::find_model(name)) GTEST_SKIP() << "no fixture " << (name) << " (set OSTRO_SHARED)"
