// What happens to text before byte pair encoding: normalisers rewrite it, pre-tokenizers cut it into words. The steps
// and their rules are those of Hugging Face's tokenizers, whose files name them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"

namespace ostro {

// A stretch of text between special tokens.
struct StretchPlace {
  bool first = true;       // it stands at the very start of the whole text
  bool add_prefix = true;  // it may get the space or mark that its tokenizer puts in front
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual std::string apply(std::string text, const StretchPlace& place) const = 0;
};

struct Words {
  std::string text;
  std::vector<TextSpan> spans;  // in order, none empty; pieces of the text that were removed lie between them
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Words& words, const StretchPlace& place) const = 0;
};

enum class UnicodeForm { Nfc, Nfd, Nfkc, Nfkd };
std::unique_ptr<Normalizer> unicode_normalizer(UnicodeForm form);
std::unique_ptr<Normalizer> lowercase_normalizer();
std::unique_ptr<Normalizer> strip_normalizer(bool left, bool right);
std::unique_ptr<Normalizer> prepend_normalizer(std::string prefix);
std::unique_ptr<Normalizer> byte_level_normalizer();

// What a pre-tokenizer or a replacement looks for: one string, or a pattern.
struct Pattern {
  std::string text;  // where there is no regex
  std::optional<Regex> regex;
};
std::unique_ptr<Normalizer> replace_normalizer(Pattern from, std::string to);

enum class SplitRule { Isolated, Removed, MergedWithPrevious, MergedWithNext, Contiguous };
// `invert`: what does not match is treated as the match.
std::unique_ptr<PreTokenizer> split_pre_tokenizer(Pattern pattern, SplitRule rule, bool invert);

// Bytes become the characters that stand for them in GPT-2's vocabulary. `split`: by GPT-2's own pattern before that.
std::unique_ptr<PreTokenizer> byte_level_pre_tokenizer(bool add_prefix_space, bool split);

enum class PrefixRule { Always, First, Never };
std::unique_ptr<PreTokenizer> metaspace_pre_tokenizer(std::string mark, PrefixRule rule, bool split);

// GPT-2's alphabet: each of the 256 bytes as a character that can be printed.
std::string to_byte_alphabet(std::string_view bytes);
// Back; nullopt where the text holds another character.
std::optional<std::string> from_byte_alphabet(std::string_view text);

extern const std::string kGpt2Pattern;

}  // namespace ostro
