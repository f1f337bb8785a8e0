// One pass from JSON text to JSON text; nothing is kept of a value but how Python would print it.
#include "text/chat_json.h"

#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "base/error.h"
#include "text/jinja_text.h"
#include "text/jinja_value.h"

namespace ostro {

namespace {
constexpr int kMaxDepth = 900;          // about where Python's reader gives up
constexpr size_t kMaxIntDigits = 4300;  // Python's limit for reading an integer

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
}

class Rewriter {
 public:
  explicit Rewriter(std::string_view text) : text_(text) {}

  std::optional<std::string> run() {
    skip_space();
    if (!value(0)) return std::nullopt;
    skip_space();
    if (at_ != text_.size()) return std::nullopt;
    return std::move(out_);
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }
  bool literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    out_ += word;
    return true;
  }

  bool value(int depth) {
    if (depth > kMaxDepth) jinja::raise("RecursionError", "maximum recursion depth exceeded while decoding JSON");
    switch (peek()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"': {
        std::string text;
        if (!string(text)) return false;
        out_ += json_string(text);
        return true;
      }
      case 't':
        return literal("true");
      case 'f':
        return literal("false");
      case 'n':
        return literal("null");
      case 'N':
        return literal("NaN");
      case 'I':
        return literal("Infinity");
      default:
        return (peek() == '-' && literal("-Infinity")) || number();
    }
  }

  bool array(int depth) {
    ++at_;
    out_ += '[';
    skip_space();
    for (bool first = true; peek() != ']'; first = false) {
      if (!first) {
        if (peek() != ',') return false;
        ++at_;
        out_ += ", ";
        skip_space();
      }
      if (!value(depth + 1)) return false;
      skip_space();
    }
    ++at_;
    out_ += ']';
    return true;
  }

  bool object(int depth) {
    struct Place {
      size_t begin, end;
    };
    std::unordered_map<std::string, size_t> seen;  // key -> its number
    std::vector<Place> places;                     // of each value in out_
    ++at_;
    out_ += '{';
    skip_space();
    for (bool first = true; peek() != '}'; first = false) {
      if (!first) {
        if (peek() != ',') return false;
        ++at_;
        skip_space();
      }
      std::string key;
      if (peek() != '"' || !string(key)) return false;
      skip_space();
      if (peek() != ':') return false;
      ++at_;
      skip_space();
      const auto [known, is_new] = seen.try_emplace(key, places.size());
      if (is_new) {
        out_ += first ? "" : ", ";
        out_ += json_string(key) + ": ";
        const size_t begin = out_.size();
        if (!value(depth + 1)) return false;
        places.push_back({begin, out_.size()});
      } else {  // a repeated key: the last value, at the first one's place
        const size_t end = out_.size();
        if (!value(depth + 1)) return false;
        const std::string latest = out_.substr(end);
        out_.resize(end);
        const Place old = places[known->second];
        out_.replace(old.begin, old.end - old.begin, latest);
        const size_t grown = latest.size() - (old.end - old.begin);  // wraps around when it shrinks; so do the sums
        places[known->second].end += grown;
        for (size_t i = known->second + 1; i < places.size(); ++i) {
          places[i].begin += grown;
          places[i].end += grown;
        }
      }
      skip_space();
    }
    ++at_;
    out_ += '}';
    return true;
  }

  bool hexadecimal(uint32_t& value) {
    if (text_.size() - at_ < 4) return false;
    value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      const char low = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<uint32_t>(c - '0');
      } else if (low >= 'a' && low <= 'f') {
        value = value * 16 + static_cast<uint32_t>(low - 'a' + 10);
      } else {
        return false;
      }
    }
    return true;
  }

  bool string(std::string& out) {
    for (++at_; at_ < text_.size();) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) return false;
      const char escape = text_[at_++];
      static constexpr std::string_view kNames = "\"\\/bfnrt";
      static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
      if (const size_t known = kNames.find(escape); known != std::string_view::npos) {
        out += kValues[known];
        continue;
      }
      uint32_t value = 0;
      if (escape != 'u' || !hexadecimal(value)) return false;
      if (value >= 0xD800 && value < 0xDC00 && text_.substr(at_, 2) == "\\u") {
        const size_t before = at_;
        uint32_t low = 0;
        at_ += 2;
        if (!hexadecimal(low)) return false;
        if (low >= 0xDC00 && low < 0xE000) {
          value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
        } else {
          at_ = before;
        }
      }
      if (value >= 0xD800 && value < 0xE000) {
        jinja::raise("UnicodeEncodeError", "'utf-8' codec can't encode a lone surrogate");
      }
      out += jinja::to_utf8(value);
    }
    return false;
  }

  size_t digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ - begin;
  }

  bool number() {
    const size_t begin = at_;
    if (peek() == '-') ++at_;
    const size_t whole_begin = at_;
    if (peek() == '0') {
      ++at_;
    } else if (digits() == 0) {
      return false;
    }
    const size_t whole_end = at_;
    if (peek() == '.') {
      ++at_;
      if (digits() == 0) at_ = whole_end;
    }
    const size_t mantissa_end = at_;
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (digits() == 0) at_ = mantissa_end;
    }
    const std::string token(text_.substr(begin, at_ - begin));
    if (at_ == whole_end) {
      if (whole_end - whole_begin > kMaxIntDigits) {
        jinja::raise("ValueError",
                     fmt::format("Exceeds the limit ({} digits) for integer string conversion", kMaxIntDigits));
      }
      out_ += token == "-0" ? "0" : token;
      return true;
    }
    const double value = std::strtod(token.c_str(), nullptr);
    out_ += std::isinf(value) ? (value < 0 ? "-Infinity" : "Infinity") : jinja::float_repr(value);
    return true;
  }

  std::string_view text_;
  std::string out_;
  size_t at_ = 0;
};
}  // namespace

std::optional<std::string> rewrite_json(std::string_view text) { return Rewriter(text).run(); }

std::string json_string(std::string_view text) {
  std::string out = "\"";
  append_escaped(out, text);
  out += '"';
  return out;
}

}  // namespace ostro
