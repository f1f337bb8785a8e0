// Reading GGUF metadata strictly: the keys of one architecture, each typed, each error naming file, key, value and what
// was expected, and no key of the architecture left unread without a word.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/weight_store.h"
#include "model/spec.h"

namespace ostro {

class GgufFields {
 public:
  // Keys begin with "<architecture>.". `store` must outlive this.
  GgufFields(const WeightStore& store, std::string_view architecture);

  const WeightStore& store() const { return store_; }
  const std::string& where() const { return store_.path; }

  // A missing key is nullopt where the name says `maybe`, an error otherwise.
  int64_t whole(std::string_view name);
  std::optional<int64_t> maybe_whole(std::string_view name);
  double number(std::string_view name);
  std::optional<double> maybe_number(std::string_view name);
  std::optional<bool> maybe_flag(std::string_view name);
  std::optional<std::string> maybe_text(std::string_view name);
  // Keys that do not change results.
  void harmless(std::initializer_list<std::string_view> names);

  template <typename Value>
  [[noreturn]] void refuse(std::string_view name, const Value& found, std::string_view supported) const {
    throw_error(ErrorKind::File, "{}: {} is {}, supported: {}", where(), key(name), found, supported);
  }
  // Throws for the first key of the architecture that nobody asked for.
  void refuse_unread() const;

 private:
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  std::string marked(std::string_view name);

  const WeightStore& store_;
  std::string prefix_;
  std::set<std::string, std::less<>> read_;
};

// What every architecture has, with the vocabulary from the tokenizer where it has no key.
struct GgufVocabulary {
  int64_t size = 0;
  int32_t bos = -1;
  std::vector<int32_t> eos;
};
GgufVocabulary read_gguf_vocabulary(GgufFields& fields);

// rope.scaling.*; magnitude is the factor on cos and sin that llama.cpp applies to most architectures.
RopeScaling read_gguf_scaling(GgufFields& fields);
// rope.dimension_count (by default the whole head), rope.freq_base, rope.scaling.* and the tensor rope_freqs.weight.
RopeSpec read_gguf_rope(GgufFields& fields, RopePairing pairing, int64_t head_dim);

}  // namespace ostro
