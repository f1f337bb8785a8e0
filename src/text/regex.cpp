#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "text/utf8.h"

namespace ostro {
namespace {

constexpr uint32_t kMatchLimit = 20'000'000;   // steps of one search
constexpr uint32_t kHeapLimitKib = 64 * 1024;  // of backtracking memory
constexpr size_t kJitStack = 1u << 20;         // bytes
constexpr size_t kLongestPattern = 1u << 16;   // bytes

// Unicode's White_Space, which Oniguruma and Rust mean by \s (PCRE2's has U+180E as well), and the rest.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Unicode's word characters (UTS 18), likewise.
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control})";

// The pattern in PCRE2's dialect. Throws std::string: what cannot be translated.
std::string translated(const std::string& pattern) {
  // Searched from every character of a long run of spaces, this would take quadratic time.
  if (pattern == R"(\s+$)") return fmt::format("(?:(?<![{0}])|\\G)[{0}]+$", kSpaces);
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\') {
      if (next == 's' || next == 'S') {
        const std::string_view set = next == 's' ? kSpaces : kNotSpaces;
        out += in_class ? std::string(set) : fmt::format("[{}]", set);
      } else if (next == 'w') {
        out += in_class ? std::string(kWord) : fmt::format("[{}]", kWord);
      } else if (next == 'W' && !in_class) {
        out += fmt::format("[^{}]", kWord);
      } else if (next == 'h' || next == 'H' || next == 'R' || next == 'X' || next == 'N' || next == 'W') {
        throw fmt::format("\\{} means other things in other dialects", next);
      } else {
        out += c;
        if (next != '\0') out += next;
      }
      ++i;
    } else if (in_class && c == ']') {
      in_class = false;
      out += c;
    } else if (in_class && c == '[' && next != ':') {
      throw std::string("a class inside a class");
    } else if (in_class && c == '&' && next == '&') {
      throw std::string("an intersection of classes (&&)");
    } else if (!in_class && c == '[') {
      in_class = true;
      out += c;
      if (next == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') throw std::string("a class that begins with ]");
    } else if (in_class && c == '[') {  // [:alpha:]
      const size_t end = pattern.find(":]", i + 2);
      if (end == std::string::npos) throw std::string("[: without :]");
      out.append(pattern, i, end + 2 - i);
      i = end + 1;
    } else {
      out += c;
    }
  }
  return out;
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Compiled() { pcre2_code_free(code); }
};

Regex::Regex(const std::string& pattern, bool line_ends, const std::string& where)
    : pattern_(pattern), compiled_(std::make_unique<Compiled>()) {
  const auto refuse = [&](const std::string& reason) {
    throw_error(ErrorKind::File, "{}: cannot use the split pattern {:?}: {}", where, pattern.substr(0, 200), reason);
  };
  if (pattern.size() > kLongestPattern || !is_utf8(pattern)) refuse("longer than 64 KiB, or not UTF-8");
  std::string source;
  try {
    source = translated(pattern);
  } catch (const std::string& reason) {
    refuse(reason);
  }
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_parens_nest_limit(context.get(), 64);
  const uint32_t options =
      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | (line_ends ? PCRE2_MULTILINE : PCRE2_DOLLAR_ENDONLY);
  int code = 0;
  size_t offset = 0;
  compiled_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(), options, &code, &offset, context.get());
  if (compiled_->code == nullptr) refuse(message_of(code));
  compiled_->jit = pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

struct Regex::Search::State {
  pcre2_match_data* data;
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = nullptr;

  explicit State(const pcre2_code* code) : data(pcre2_match_data_create_from_pattern(code, nullptr)) {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

Regex::Search::Search(const Regex& regex) : regex_(regex), state_(std::make_unique<State>(regex.compiled_->code)) {
  if (regex.compiled_->jit) {
    state_->stack = pcre2_jit_stack_create(32 * 1024, kJitStack, nullptr);
    pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
  }
}

Regex::Search::~Search() = default;

bool Regex::Search::next(std::string_view text, size_t from, TextSpan& match) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (from < text.size()) {
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int found = pcre2_match(regex_.compiled_->code, subject, text.size(), from, options, state_->data, state_->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter has more room
      options |= PCRE2_NO_JIT;
      found = pcre2_match(regex_.compiled_->code, subject, text.size(), from, options, state_->data, state_->context);
    }
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found < 0) {
      throw_error(ErrorKind::Usage, "the tokenizer's split pattern {:?} gave up on this text at byte {}: {}",
                  regex_.pattern_.substr(0, 200), from, message_of(found));
    }
    const size_t* span = pcre2_get_ovector_pointer(state_->data);
    if (span[1] > span[0] && span[0] >= from) {
      match = {span[0], span[1]};
      return true;
    }
    from = std::max(from, span[0]);
    from += from < text.size() ? utf8_step(text.substr(from)).length : 1;
  }
  return false;
}

}  // namespace ostro
