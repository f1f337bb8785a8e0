// Python's two ways to format: "%s" % x and "{}".format(x).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
constexpr int64_t kMaxPrecision = 1000;

struct Spec {
  std::string fill = " ";
  char align = '\0';  // < > = ^
  char sign = '-';    // - + space
  bool alternate = false;
  char grouping = '\0';  // , or _
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

std::string group_digits(const std::string& digits, char separator, size_t size) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % size == 0) out += separator;
    out += digits[i];
  }
  return out;
}

std::string in_base(uint64_t value, char type) {
  switch (type) {
    case 'x':
      return fmt::format("{:x}", value);
    case 'X':
      return fmt::format("{:X}", value);
    case 'o':
      return fmt::format("{:o}", value);
    case 'b':
      return fmt::format("{:b}", value);
    default:
      return std::to_string(value);
  }
}

// The digits of a float without its sign.
std::string float_digits(double value, const Spec& spec) {
  const double size = std::abs(value);
  const bool capital = spec.type == 'F' || spec.type == 'E' || spec.type == 'G';
  if (!std::isfinite(value)) {
    const std::string name = std::isnan(value) ? "nan" : "inf";
    return (capital ? (std::isnan(value) ? "NAN" : "INF") : name) + (spec.type == '%' ? "%" : "");
  }
  const int64_t precision = spec.precision < 0 ? 6 : spec.precision;
  switch (spec.type) {
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", size, precision);
    case 'e':
      return fmt::format("{:.{}e}", size, precision);
    case 'E':
      return fmt::format("{:.{}E}", size, precision);
    case 'g':
      return fmt::format("{:.{}g}", size, std::max<int64_t>(precision, 1));
    case 'G':
      return fmt::format("{:.{}G}", size, std::max<int64_t>(precision, 1));
    case '%':
      return fmt::format("{:.{}f}%", size * 100, precision);
    default:
      break;
  }
  if (spec.precision < 0) return float_repr(size);
  std::string out = fmt::format("{:.{}g}", size, std::max<int64_t>(spec.precision, 1));
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

Text aligned(Runtime& runtime, const Text& prefix, const Text& body, const Spec& spec, char default_align) {
  const char align = spec.align == '\0' ? default_align : spec.align;
  Text out;
  if (align == '=') {
    out.append(prefix);
    const auto used = static_cast<int64_t>(count_codepoints(prefix.view()));
    out.append(pad(runtime, body, spec.width - used, spec.fill, 1));
    return out;
  }
  out.append(prefix);
  out.append(body);
  if (align == '^') {  // the odd one goes to the right
    const auto size = static_cast<int64_t>(count_codepoints(out.view()));
    const int64_t left = std::max<int64_t>(0, (spec.width - size) / 2);
    out = pad(runtime, out, size + left, spec.fill, 1);
    return pad(runtime, out, spec.width, spec.fill, 0);
  }
  return pad(runtime, out, spec.width, spec.fill, align == '<' ? 0 : 1);
}

Text format_number(Runtime& runtime, const Value& value, Spec spec) {
  if (spec.precision > kMaxPrecision) raise("ValueError", "precision too big");
  std::string prefix;
  std::string digits;
  bool negative = false;
  const bool wants_float = spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (const auto whole = value.integer(); whole && !wants_float) {
    negative = *whole < 0;
    const uint64_t size = negative ? 0 - static_cast<uint64_t>(*whole) : static_cast<uint64_t>(*whole);
    if (spec.type == 'c') return aligned(runtime, {}, Text(to_utf8(static_cast<char32_t>(size))), spec, '<');
    digits = in_base(size, spec.type);
    const bool based = spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b';
    if (spec.alternate && based) prefix = std::string("0") + spec.type;
    if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping, based ? 4 : 3);
  } else {
    const double number = *value.number();
    negative = std::signbit(number);
    digits = float_digits(number, spec);
    if (spec.grouping != '\0') {
      const size_t whole_size = std::min(digits.find_first_not_of("0123456789"), digits.size());
      digits = group_digits(digits.substr(0, whole_size), spec.grouping, 3) + digits.substr(whole_size);
    }
  }
  const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
  return aligned(runtime, Text(sign + prefix), Text(digits), spec, '>');
}

Text cut(const Text& text, int64_t characters) {
  if (characters < 0) return text;
  const std::vector<size_t> offsets = codepoint_offsets(text.view());
  const size_t count = std::min(static_cast<size_t>(characters), offsets.size() - 1);
  return text.substr(0, offsets[count]);
}

int64_t read_number(const std::string& text, size_t& at) {
  int64_t value = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    value = value * 10 + (text[at++] - '0');
    if (value > (int64_t{1} << 40)) raise("ValueError", "Too many decimal digits in format string");
  }
  return value;
}

// --- "%s" % x ---

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Text& format, const Value& arguments)
      : runtime_(runtime), format_(format), arguments_(arguments) {
    if (arguments.is_sequence(SequenceKind::Tuple)) {
      positional_ = arguments.as_sequence().items;
    } else {
      positional_ = {arguments};
    }
  }

  Text run() {
    const std::string& text = format_.bytes();
    while (at_ < text.size()) {
      const size_t percent = std::min(text.find('%', at_), text.size());
      out_.append(format_, at_, percent);
      at_ = percent + 1;
      if (percent < text.size()) field();
    }
    // Whatever has items by key need not be used up.
    const bool mapping = arguments_.is_dict() || arguments_.is_undefined() ||
                         arguments_.is_sequence(SequenceKind::List) || arguments_.is_sequence(SequenceKind::Range);
    if (next_ < positional_.size() && !mapping) {
      raise("TypeError", "not all arguments converted during string formatting");
    }
    return std::move(out_);
  }

 private:
  char peek() const {
    if (at_ >= format_.size()) raise("ValueError", "incomplete format");
    return format_.bytes()[at_];
  }

  const Value& next() {
    if (next_ >= positional_.size()) raise("TypeError", "not enough arguments for format string");
    return positional_[next_++];
  }

  int64_t star_or_number() {
    if (peek() != '*') return read_number(format_.bytes(), at_);
    ++at_;
    const auto value = next().integer();
    if (!value) raise("TypeError", "* wants int");
    return *value;
  }

  void field() {
    std::optional<Value> keyed;
    if (peek() == '(') {
      const size_t end = format_.bytes().find(')', at_);
      if (end == std::string::npos) raise("ValueError", "incomplete format key");
      require_defined(arguments_);
      if (!arguments_.is_dict()) raise("TypeError", "format requires a mapping");
      const std::string key = format_.bytes().substr(at_ + 1, end - at_ - 1);
      const Value* found = arguments_.as_dict().find(std::string_view(key));
      if (found == nullptr) raise("KeyError", "'" + key + "'");
      keyed = *found;
      at_ = end + 1;
    }
    Spec spec;
    bool zero = false;
    for (;; ++at_) {
      const char flag = peek();
      if (flag == '-') {
        spec.align = '<';
      } else if (flag == '+') {
        spec.sign = '+';
      } else if (flag == ' ') {
        if (spec.sign == '-') spec.sign = ' ';
      } else if (flag == '#') {
        spec.alternate = true;
      } else if (flag == '0') {
        zero = true;
      } else {
        break;
      }
    }
    spec.width = star_or_number();
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (peek() == '.') {
      ++at_;
      spec.precision = std::max<int64_t>(0, star_or_number());
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at_;
    spec.type = peek();
    ++at_;
    if (spec.type == '%') return out_.append("%");
    if (zero && spec.align != '<') {
      spec.fill = "0";
      spec.align = '=';
    }
    convert(keyed ? *keyed : next(), spec);
  }

  void convert(const Value& value, Spec spec) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        const Text text = spec.type == 's' ? runtime_.text(value) : repr(runtime_.budget, value);
        spec.fill = " ";
        if (spec.align == '=') spec.align = '>';
        return out_.append(aligned(runtime_, {}, cut(text, spec.precision), spec, '>'));
      }
      case 'c':
        if (value.is_string() && count_codepoints(value.text().view()) == 1) {
          return out_.append(aligned(runtime_, {}, value.text(), spec, '>'));
        }
        if (!value.integer()) raise("TypeError", "%c requires int or char");
        return out_.append(to_utf8(static_cast<char32_t>(*value.integer())));
      default:
        break;
    }
    if (std::string_view("diuoxXeEfFgG").find(spec.type) == std::string_view::npos) {
      raise("ValueError",
            fmt::format("unsupported format character '{}' ({:#x})", spec.type, static_cast<unsigned char>(spec.type)));
    }
    require_defined(value);
    if (!value.number()) {
      const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
      raise("TypeError", decimal
                             ? fmt::format("%{} format: a real number is required, not {}", spec.type, type_name(value))
                             : "must be real number, not " + type_name(value));
    }
    const bool integral = std::string_view("diuoxX").find(spec.type) != std::string_view::npos;
    if (!integral) return out_.append(format_number(runtime_, value, spec));
    if (!value.integer() && (spec.type == 'o' || spec.type == 'x' || spec.type == 'X')) {
      raise("TypeError", fmt::format("%{} format: an integer is required, not float", spec.type));
    }
    if (!value.integer() && !(std::abs(*value.number()) < 9.2e18)) {
      raise("OverflowError", "cannot convert float infinity to integer");
    }
    const int64_t whole = value.integer() ? *value.integer() : static_cast<int64_t>(*value.number());
    if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
    if (spec.precision >= 0) {  // at least so many digits
      const bool negative = whole < 0;
      const uint64_t size = negative ? 0 - static_cast<uint64_t>(whole) : static_cast<uint64_t>(whole);
      const Text digits = pad(runtime_, Text(in_base(size, spec.type)), spec.precision, "0", 1);
      const std::string sign = negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
      return out_.append(aligned(runtime_, Text(sign), digits, spec, '>'));
    }
    out_.append(format_number(runtime_, Value(whole), spec));
  }

  Runtime& runtime_;
  const Text& format_;
  const Value& arguments_;
  std::vector<Value> positional_;
  size_t next_ = 0;
  size_t at_ = 0;
  Text out_;
};

// --- "{}".format(x) ---

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, Arguments& arguments) : runtime_(runtime), arguments_(arguments) {}

  Text run(const Text& format, int depth) {
    if (depth > 1) raise("ValueError", "Max string recursion exceeded");
    const std::string& text = format.bytes();
    Text out;
    for (size_t at = 0; at < text.size();) {
      const char c = text[at];
      if (c != '{' && c != '}') {
        const size_t end = std::min(text.find_first_of("{}", at), text.size());
        out.append(format, at, end);
        at = end;
      } else if (at + 1 < text.size() && text[at + 1] == c) {
        out.append(format, at, at + 1);
        at += 2;
      } else if (c == '}') {
        raise("ValueError", "Single '}' encountered in format string");
      } else {
        const size_t end = field_end(text, at);
        const Text piece = field(format.substr(at + 1, end), depth);
        runtime_.budget.bytes(piece.size());
        out.append(piece);
        at = end + 1;
      }
    }
    return out;
  }

 private:
  static size_t field_end(const std::string& text, size_t open) {
    int level = 0;
    for (size_t at = open; at < text.size(); ++at) {
      if (text[at] == '{') ++level;
      if (text[at] == '}' && --level == 0) return at;
    }
    raise("ValueError",
          open + 1 == text.size() ? "Single '{' encountered in format string" : "expected '}' before end of string");
  }

  Text field(const Text& field, int depth) {
    const std::string& text = field.bytes();
    size_t name_end = 0;
    while (name_end < text.size() && text[name_end] != '!' && text[name_end] != ':') {
      if (text[name_end] == '[') name_end = std::min(text.find(']', name_end), text.size() - 1);
      ++name_end;
    }
    Value value = lookup(text.substr(0, name_end));
    size_t at = name_end;
    if (at < text.size() && text[at] == '!') {
      if (at + 1 >= text.size()) raise("ValueError", "unmatched '{' in format spec");
      const char conversion = text[at + 1];
      if (conversion == 's') {
        value = Value(runtime_.text(value));
      } else if (conversion == 'r' || conversion == 'a') {
        value = Value(repr(runtime_.budget, value));
      } else {
        raise("ValueError", fmt::format("Unknown conversion specifier {}", conversion));
      }
      at += 2;
      if (at < text.size() && text[at] != ':') raise("ValueError", "expected ':' after conversion specifier");
    }
    const Text spec = at < text.size() ? run(field.substr(at + 1, text.size()), depth + 1) : Text();
    return apply(value, spec.bytes());
  }

  Value lookup(const std::string& name) {
    size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string head = name.substr(0, end);
    Value value =
        head.empty() || head.find_first_not_of("0123456789") == std::string::npos ? positional(head) : named(head);
    while (end < name.size()) {
      if (name[end] == '.') {
        const size_t stop = std::min(name.find_first_of(".[", end + 1), name.size());
        value = runtime_.attribute(value, name.substr(end + 1, stop - end - 1));
        end = stop;
      } else {
        const size_t stop = name.find(']', end);
        if (name[end] != '[' || stop == std::string::npos) raise("ValueError", "Missing ']' in format string");
        const std::string key = name.substr(end + 1, stop - end - 1);
        const bool number = !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
        const auto index = number ? parse_integer(key, 10) : std::nullopt;
        value = runtime_.item(value, index ? Value(*index) : Value(key));
        end = stop + 1;
      }
    }
    return value;
  }

  const Value& positional(const std::string& head) {
    size_t place = next_;
    if (head.empty()) {
      if (numbered_) raise("ValueError", "cannot switch from manual field specification to automatic field numbering");
      ++next_;
    } else {
      if (next_ > 0) raise("ValueError", "cannot switch from automatic field numbering to manual field specification");
      numbered_ = true;
      size_t at = 0;
      place = static_cast<size_t>(read_number(head, at));
    }
    if (place >= arguments_.positional.size()) {
      raise("IndexError", fmt::format("Replacement index {} out of range for positional args tuple", place));
    }
    return arguments_.positional[place];
  }

  const Value& named(const std::string& head) {
    for (const auto& [name, value] : arguments_.named) {
      if (name == head) return value;
    }
    raise("KeyError", "'" + head + "'");
  }

  Text apply(const Value& value, const std::string& text) {
    if (text.empty()) return runtime_.text(value);
    if (!value.is_string() && !value.number()) {
      raise("TypeError", "unsupported format string passed to " + type_name(value) + ".__format__");
    }
    Spec spec;
    size_t at = 0;
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
    const size_t first = codepoint_at(text, 0).size;
    const bool has_fill = first < text.size() && is_align(text[first]);
    if (has_fill) {
      spec.fill = text.substr(0, first);
      spec.align = text[first];
      at = first + 1;
    } else if (is_align(text[0])) {
      spec.align = text[at++];
    }
    if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) spec.sign = text[at++];
    if (at < text.size() && text[at] == '#') {
      spec.alternate = true;
      ++at;
    }
    if (at < text.size() && text[at] == '0') {
      if (!has_fill) spec.fill = "0";
      if (spec.align == '\0' && !value.is_string()) spec.align = '=';
      ++at;
    }
    spec.width = read_number(text, at);
    if (at < text.size() && (text[at] == ',' || text[at] == '_')) spec.grouping = text[at++];
    if (at < text.size() && text[at] == '.') {
      const size_t before = ++at;
      spec.precision = read_number(text, at);
      if (at == before) raise("ValueError", "Format specifier missing precision");
    }
    if (at < text.size()) spec.type = text[at++];
    if (at != text.size()) raise("ValueError", "Invalid format specifier");
    return convert(value, spec);
  }

  Text convert(const Value& value, Spec spec) {
    const auto unknown = [&]() {
      raise("ValueError", fmt::format("Unknown format code '{}' for object of type '{}'", spec.type, type_name(value)));
    };
    if (value.is_string()) {
      if (spec.type != '\0' && spec.type != 's') unknown();
      if (spec.align == '=') raise("ValueError", "'=' alignment not allowed in string format specifier");
      return aligned(runtime_, {}, cut(value.text(), spec.precision), spec, '<');
    }
    const std::string_view known = value.integer() ? "bcdoxXneEfFgG%" : "eEfFgGn%";
    if (spec.type != '\0' && known.find(spec.type) == std::string_view::npos) unknown();
    if (value.integer() && spec.precision >= 0 && (spec.type == '\0' || spec.type == 'd')) {
      raise("ValueError", "Precision not allowed in integer format specifier");
    }
    return format_number(runtime_, value, spec);
  }

  Runtime& runtime_;
  Arguments& arguments_;
  size_t next_ = 0;
  bool numbered_ = false;
};
}  // namespace

Text percent_format(Runtime& runtime, const Text& format, const Value& arguments) {
  return PercentFormatter(runtime, format, arguments).run();
}

Value escape_strings(Runtime& runtime, const Value& value) {
  if (value.is_string()) return Value(escape_html(runtime, value), true);
  if (value.is_sequence(SequenceKind::Tuple)) {
    std::vector<Value> items;
    for (const Value& item : value.as_sequence().items) items.push_back(escape_strings(runtime, item));
    return Value::tuple(std::move(items));
  }
  if (!value.is_dict()) return value;
  Dict out;
  for (const auto& [key, item] : value.as_dict().items) out.set(key, escape_strings(runtime, item));
  return Value::dict(std::move(out));
}

Text brace_format(Runtime& runtime, const Text& format, Arguments& arguments) {
  return BraceFormatter(runtime, arguments).run(format, 0);
}

}  // namespace ostro::jinja
