// Values of the template interpreter as text: Python's str and repr, and json.dumps.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja_value.h"

namespace ostro::jinja {

namespace {
Text plain(std::string text) { return Text(std::move(text)); }

void append_repr(Budget& budget, const Value& value, Text& out);

void append_items(Budget& budget, const std::vector<Value>& items, Text& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ");
    append_repr(budget, items[i], out);
  }
}

void append_sequence(Budget& budget, const Sequence& sequence, Text& out) {
  switch (sequence.kind) {
    case SequenceKind::List:
      out.append("[");
      append_items(budget, sequence.items, out);
      out.append("]");
      return;
    case SequenceKind::Tuple:
      out.append("(");
      append_items(budget, sequence.items, out);
      out.append(sequence.items.size() == 1 ? ",)" : ")");
      return;
    case SequenceKind::Range:
      out.append(fmt::format("range({}, {}", sequence.range_start, sequence.range_stop));
      out.append(sequence.range_step == 1 ? ")" : fmt::format(", {})", sequence.range_step));
      return;
    case SequenceKind::Keys:
    case SequenceKind::Values:
    case SequenceKind::Items:
      out.append(sequence.kind == SequenceKind::Keys     ? "dict_keys(["
                 : sequence.kind == SequenceKind::Values ? "dict_values(["
                                                         : "dict_items([");
      append_items(budget, sequence.items, out);
      out.append("])");
      return;
    case SequenceKind::Iterator:
      out.append("<" + sequence.iterator_type + " object>");
      return;
  }
}

void append_repr(Budget& budget, const Value& value, Text& out) {
  budget.steps(1);
  const size_t before = out.size();
  if (value.is_string()) {
    budget.bytes(value.text().size());
    if (value.as_string().markup) out.append("Markup(");
    out.append(quote(value.text()));
    if (value.as_string().markup) out.append(")");
  } else if (value.is_none()) {
    out.append("None");
  } else if (value.is_bool()) {
    out.append(*value.integer() != 0 ? "True" : "False");
  } else if (value.is_int()) {
    out.append(std::to_string(*value.integer()));
  } else if (value.is_float()) {
    out.append(float_repr(value.as_float()));
  } else if (value.is_undefined()) {
    out.append("Undefined");
  } else if (value.is_object()) {
    out.append(value.as_object().repr());
  } else if (value.is_dict()) {
    out.append("{");
    bool first = true;
    for (const auto& [key, item] : value.as_dict().items) {
      if (!first) out.append(", ");
      first = false;
      append_repr(budget, key, out);
      out.append(": ");
      append_repr(budget, item, out);
    }
    out.append("}");
  } else {
    append_sequence(budget, value.as_sequence(), out);
  }
  if (!value.is_string()) budget.bytes(std::min<size_t>(out.size() - before, 64));
}

// One call of json.dumps.
class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style) : budget_(budget), style_(style) {}

  void write(const Value& value, size_t level) {
    budget_.steps(1);
    budget_.bytes(8);
    if (value.is_string()) return write_string(value.text());
    if (value.is_none()) return out.append("null");
    if (value.is_bool()) return out.append(*value.integer() != 0 ? "true" : "false");
    if (value.is_int()) return out.append(std::to_string(*value.integer()));
    if (value.is_float()) return out.append(number(value.as_float()));
    if (value.is_dict()) return write_dict(value.as_dict(), level);
    if (value.is_sequence(SequenceKind::List) || value.is_sequence(SequenceKind::Tuple)) {
      return write_list(value.as_sequence().items, level);
    }
    raise("TypeError", "Object of type " + type_name(value) + " is not JSON serializable");
  }

  Text out;

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  void write_string(const Text& text) {
    budget_.bytes(text.size() + 2);
    out.append("\"");
    for (size_t at = 0; at < text.size();) {
      const Codepoint c = codepoint_at(text.view(), at);
      const std::string escaped = escape(c.value);
      if (escaped.empty()) {
        out.append(text, at, at + c.size);
      } else {
        out.append(escaped, text.from_data(at));
      }
      at += c.size;
    }
    out.append("\"");
  }

  std::string escape(char32_t c) const {
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\b':
        return "\\b";
      case '\f':
        return "\\f";
      default:
        break;
    }
    const auto value = static_cast<uint32_t>(c);
    if (value < 0x20) return fmt::format("\\u{:04x}", value);
    if (value < 0x7F || !style_.ensure_ascii) return {};
    if (value == 0x7F) return {};
    if (value < 0x10000) return fmt::format("\\u{:04x}", value);
    return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((value - 0x10000) >> 10), 0xDC00 + ((value - 0x10000) & 0x3FF));
  }

  void new_line(size_t level) {
    if (!style_.indent) return;
    budget_.bytes(1 + level * style_.indent->size());
    out.append("\n");
    for (size_t i = 0; i < level; ++i) out.append(*style_.indent);
  }

  void write_list(const std::vector<Value>& items, size_t level) {
    if (items.empty()) return out.append("[]");
    out.append("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out.append(style_.item_separator);
      new_line(level + 1);
      write(items[i], level + 1);
    }
    new_line(level);
    out.append("]");
  }

  Text key_text(const Value& key) const {
    if (key.is_string()) return key.text();
    if (key.is_none()) return plain("null");
    if (key.is_bool()) return plain(*key.integer() != 0 ? "true" : "false");
    if (key.is_int()) return plain(std::to_string(*key.integer()));
    if (key.is_float()) return plain(number(key.as_float()));
    raise("TypeError", "keys must be str, int, float, bool or None, not " + type_name(key));
  }

  void write_dict(const Dict& dict, size_t level) {
    if (dict.items.empty()) return out.append("{}");
    std::vector<const std::pair<Value, Value>*> order;
    for (const auto& item : dict.items) order.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(order.begin(), order.end(), [this](const auto* a, const auto* b) {
        return compare(budget_, a->first, b->first, "<").value_or(0) < 0;
      });
    }
    out.append("{");
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0) out.append(style_.item_separator);
      new_line(level + 1);
      write_string(key_text(order[i]->first));
      out.append(style_.key_separator);
      write(order[i]->second, level + 1);
    }
    new_line(level);
    out.append("}");
  }

  Budget& budget_;
  const JsonStyle& style_;
};
}  // namespace

Text to_text(Budget& budget, const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return {};
  return repr(budget, value);
}

Text repr(Budget& budget, const Value& value) {
  Text out;
  append_repr(budget, value, out);
  return out;
}

Text to_json(Budget& budget, const Value& value, const JsonStyle& style) {
  JsonWriter writer(budget, style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace ostro::jinja
