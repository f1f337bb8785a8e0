#include "text/text_steps.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "text/utf8.h"

namespace ostro {

const std::string kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// Bytes that print keep their value; the 68 others follow from U+0100.
struct ByteAlphabet {
  std::array<char32_t, 256> characters{};
  std::array<std::string, 256> encoded;
  std::array<int16_t, 0x144> bytes{};

  ByteAlphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      characters[byte] = prints ? byte : next++;
      append_utf8(encoded[byte], characters[byte]);
      bytes[characters[byte]] = static_cast<int16_t>(byte);
    }
  }
};

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(UnicodeForm form) : form_(form) {}
  std::string apply(std::string text, const StretchPlace&) const override {
    if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; })) return text;
    int options = UTF8PROC_STABLE;
    options |= form_ == UnicodeForm::Nfc || form_ == UnicodeForm::Nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (form_ == UnicodeForm::Nfkc || form_ == UnicodeForm::Nfkd) options |= UTF8PROC_COMPAT;
    utf8proc_uint8_t* out = nullptr;
    const utf8proc_ssize_t length =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                     &out, static_cast<utf8proc_option_t>(options));
    const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owned(out, std::free);
    if (length < 0) throw_error(ErrorKind::Usage, "cannot normalise the text: {}", utf8proc_errmsg(length));
    return {reinterpret_cast<const char*>(out), static_cast<size_t>(length)};
  }

 private:
  UnicodeForm form_;
};

class LowercaseNormalizer final : public Normalizer {
 public:
  std::string apply(std::string text, const StretchPlace&) const override {
    std::string out;
    for (std::string_view rest = text; !rest.empty();) {
      const Utf8Step step = utf8_step(rest);
      if (step.code == 0x130) {
        out += "i\u0307";  // the one character whose lower case is two
      } else {
        append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(step.code))));
      }
      rest.remove_prefix(step.length);
    }
    return out;
  }
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string text, const StretchPlace&) const override {
    size_t begin = text.size(), end = 0;  // of what is not space
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = utf8_step(std::string_view(text).substr(at));
      if (!is_white_space(step.code)) {
        begin = std::min(begin, at);
        end = at + step.length;
      }
      at += step.length;
    }
    if (!left_) begin = 0;
    if (!right_) end = text.size();
    return begin < end ? text.substr(begin, end - begin) : std::string();
  }

 private:
  bool left_, right_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string text, const StretchPlace& place) const override {
    return text.empty() || !place.add_prefix ? text : prefix_ + text;
  }

 private:
  std::string prefix_;
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  std::string apply(std::string text, const StretchPlace&) const override { return to_byte_alphabet(text); }
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(Pattern from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
  std::string apply(std::string text, const StretchPlace&) const override {
    if (!from_.regex) return replaced(text, from_.text, to_);
    std::string out;
    Regex::Search search(*from_.regex);
    size_t at = 0;
    for (TextSpan match; search.next(text, at, match); at = match.end) {
      out.append(text, at, match.begin - at);
      out += to_;
    }
    return out.append(text, at);
  }

 private:
  Pattern from_;
  std::string to_;
};

struct Piece {
  TextSpan span;
  bool matches = false;
};

void append_pieces(const std::vector<Piece>& pieces, SplitRule rule, std::vector<TextSpan>& out) {
  const auto same = [](const Piece& a, const Piece& b) { return a.matches == b.matches; };
  for (size_t i = 0; i < pieces.size(); ++i) {
    TextSpan span = pieces[i].span;
    switch (rule) {
      case SplitRule::Isolated:
        break;
      case SplitRule::Removed:
        if (pieces[i].matches) continue;
        break;
      case SplitRule::Contiguous:
        while (i + 1 < pieces.size() && same(pieces[i], pieces[i + 1])) span.end = pieces[++i].span.end;
        break;
      case SplitRule::MergedWithPrevious:  // of matches in a row, the first goes with what stands before them
        if (!pieces[i].matches && i + 1 < pieces.size() && pieces[i + 1].matches) span.end = pieces[++i].span.end;
        break;
      case SplitRule::MergedWithNext:  // and the last with what stands behind them
        if (pieces[i].matches && i + 1 < pieces.size() && !pieces[i + 1].matches) span.end = pieces[++i].span.end;
        break;
    }
    out.push_back(span);
  }
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(Pattern pattern, SplitRule rule, bool invert)
      : pattern_(std::move(pattern)), rule_(rule), invert_(invert) {}

  void apply(Words& words, const StretchPlace&) const override {
    std::vector<TextSpan> out;
    std::vector<Piece> pieces;
    std::optional<Regex::Search> search;
    if (pattern_.regex) search.emplace(*pattern_.regex);
    for (const TextSpan& word : words.spans) {
      const auto text = std::string_view(words.text).substr(word.begin, word.end - word.begin);
      const auto add = [&](size_t begin, size_t end, bool matches) {
        if (begin < end) pieces.push_back({{word.begin + begin, word.begin + end}, matches != invert_});
      };
      pieces.clear();
      size_t at = 0;
      for (TextSpan match; next(search, text, at, match); at = match.end) {
        add(at, match.begin, false);
        add(match.begin, match.end, true);
      }
      add(at, text.size(), false);
      append_pieces(pieces, rule_, out);
    }
    words.spans = std::move(out);
  }

 private:
  bool next(std::optional<Regex::Search>& search, std::string_view text, size_t from, TextSpan& match) const {
    if (search) return search->next(text, from, match);
    const size_t at = pattern_.text.empty() ? text.npos : text.find(pattern_.text, from);
    match = {at, at + pattern_.text.size()};
    return at != text.npos;
  }

  Pattern pattern_;
  SplitRule rule_;
  bool invert_;
};

// Rewrites every word by `write(word, index, out)`.
template <typename Write>
void rewrite_words(Words& words, Write write) {
  std::string text;
  text.reserve(words.text.size() + words.text.size() / 4);
  for (size_t i = 0; i < words.spans.size(); ++i) {
    TextSpan& span = words.spans[i];
    const size_t begin = text.size();
    write(std::string_view(words.text).substr(span.begin, span.end - span.begin), i, text);
    span = {begin, text.size()};
  }
  words.text = std::move(text);
}

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, bool split) : add_prefix_space_(add_prefix_space) {
    if (split)
      split_ = split_pre_tokenizer({"", Regex(kGpt2Pattern, true, "GPT-2's pattern")}, SplitRule::Isolated, false);
  }

  void apply(Words& words, const StretchPlace& place) const override {
    if (add_prefix_space_ && place.add_prefix) {
      rewrite_words(words, [](std::string_view word, size_t, std::string& out) {
        if (!word.starts_with(' ')) out += ' ';
        out += word;
      });
    }
    if (split_) split_->apply(words, place);
    rewrite_words(words, [](std::string_view word, size_t, std::string& out) {
      for (const char c : word) out += byte_alphabet().encoded[static_cast<uint8_t>(c)];
    });
  }

 private:
  bool add_prefix_space_;
  std::unique_ptr<PreTokenizer> split_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  MetaspacePreTokenizer(std::string mark, PrefixRule rule, bool split) : mark_(std::move(mark)), rule_(rule) {
    if (split) split_ = split_pre_tokenizer({mark_, std::nullopt}, SplitRule::MergedWithNext, false);
  }

  void apply(Words& words, const StretchPlace& place) const override {
    rewrite_words(words, [&](std::string_view word, size_t index, std::string& out) {
      const bool wanted = rule_ == PrefixRule::Always || (rule_ == PrefixRule::First && place.first && index == 0);
      if (wanted && place.add_prefix && !word.starts_with(mark_) && !word.starts_with(' ')) out += mark_;
      for (const char c : word) {
        if (c == ' ') {
          out += mark_;
        } else {
          out += c;
        }
      }
    });
    if (split_) split_->apply(words, place);
  }

 private:
  std::string mark_;
  PrefixRule rule_;
  std::unique_ptr<PreTokenizer> split_;
};

}  // namespace

std::unique_ptr<Normalizer> unicode_normalizer(UnicodeForm form) { return std::make_unique<UnicodeNormalizer>(form); }
std::unique_ptr<Normalizer> lowercase_normalizer() { return std::make_unique<LowercaseNormalizer>(); }
std::unique_ptr<Normalizer> strip_normalizer(bool left, bool right) {
  return std::make_unique<StripNormalizer>(left, right);
}
std::unique_ptr<Normalizer> prepend_normalizer(std::string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}
std::unique_ptr<Normalizer> byte_level_normalizer() { return std::make_unique<ByteLevelNormalizer>(); }
std::unique_ptr<Normalizer> replace_normalizer(Pattern from, std::string to) {
  return std::make_unique<ReplaceNormalizer>(std::move(from), std::move(to));
}
std::unique_ptr<PreTokenizer> split_pre_tokenizer(Pattern pattern, SplitRule rule, bool invert) {
  return std::make_unique<SplitPreTokenizer>(std::move(pattern), rule, invert);
}
std::unique_ptr<PreTokenizer> byte_level_pre_tokenizer(bool add_prefix_space, bool split) {
  return std::make_unique<ByteLevelPreTokenizer>(add_prefix_space, split);
}
std::unique_ptr<PreTokenizer> metaspace_pre_tokenizer(std::string mark, PrefixRule rule, bool split) {
  return std::make_unique<MetaspacePreTokenizer>(std::move(mark), rule, split);
}

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) out += byte_alphabet().encoded[static_cast<uint8_t>(c)];
  return out;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  const auto& bytes = byte_alphabet().bytes;
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (!step.valid || step.code >= bytes.size() || bytes[step.code] < 0) return std::nullopt;
    out.push_back(static_cast<char>(bytes[step.code]));
    text.remove_prefix(step.length);
  }
  return out;
}

}  // namespace ostro
