// The meta-schema of draft 7 as a table: keyword -> what its value must be.
#include "text/chat_schema.h"

#include <fmt/format.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>

namespace ostro {

namespace {
using nlohmann::ordered_json;

enum class Shape {
  Schema,
  SchemaMap,     // {name: schema}
  SchemaList,    // [schema, ...], not empty
  SchemaOrList,  // items
  Dependencies,  // {name: schema or [string]}
  Text,
  Pattern,  // a regular expression
  Flag,
  Number,
  PositiveNumber,
  Count,  // a whole number from 0
  Names,  // distinct strings
  Types,  // a type's name, or distinct names
  List
};

const std::map<std::string, Shape, std::less<>>& keywords() {
  static const std::map<std::string, Shape, std::less<>> kShapes{
      {"$id", Shape::Text},
      {"$schema", Shape::Text},
      {"$ref", Shape::Text},
      {"$comment", Shape::Text},
      {"title", Shape::Text},
      {"description", Shape::Text},
      {"pattern", Shape::Pattern},
      {"format", Shape::Text},
      {"contentMediaType", Shape::Text},
      {"contentEncoding", Shape::Text},
      {"readOnly", Shape::Flag},
      {"uniqueItems", Shape::Flag},
      {"multipleOf", Shape::PositiveNumber},
      {"maximum", Shape::Number},
      {"exclusiveMaximum", Shape::Number},
      {"minimum", Shape::Number},
      {"exclusiveMinimum", Shape::Number},
      {"maxLength", Shape::Count},
      {"minLength", Shape::Count},
      {"maxItems", Shape::Count},
      {"minItems", Shape::Count},
      {"maxProperties", Shape::Count},
      {"minProperties", Shape::Count},
      {"additionalItems", Shape::Schema},
      {"contains", Shape::Schema},
      {"additionalProperties", Shape::Schema},
      {"propertyNames", Shape::Schema},
      {"if", Shape::Schema},
      {"then", Shape::Schema},
      {"else", Shape::Schema},
      {"not", Shape::Schema},
      {"items", Shape::SchemaOrList},
      {"allOf", Shape::SchemaList},
      {"anyOf", Shape::SchemaList},
      {"oneOf", Shape::SchemaList},
      {"definitions", Shape::SchemaMap},
      {"properties", Shape::SchemaMap},
      {"patternProperties", Shape::SchemaMap},
      {"dependencies", Shape::Dependencies},
      {"required", Shape::Names},
      {"examples", Shape::List},
      {"enum", Shape::List},
      {"type", Shape::Types},
  };
  return kShapes;
}

bool is_type(const ordered_json& value) {
  static const std::set<std::string> kTypes{"array", "boolean", "integer", "null", "number", "object", "string"};
  return value.is_string() && kTypes.count(value.get<std::string>()) != 0;
}

bool is_names(const ordered_json& value) {
  if (!value.is_array()) return false;
  std::set<std::string> seen;
  return std::all_of(value.begin(), value.end(), [&](const ordered_json& name) {
    return name.is_string() && seen.insert(name.get<std::string>()).second;
  });
}

bool is_types(const ordered_json& value) {
  if (is_type(value)) return true;
  return is_names(value) && !value.empty() && std::all_of(value.begin(), value.end(), is_type);
}

bool is_count(const ordered_json& value) {
  return value.is_number() && value.get<double>() >= 0 && std::floor(value.get<double>()) == value.get<double>();
}

// By PCRE2, which takes nearly all that Python's re takes.
bool is_pattern(const std::string& text) {
  int error = 0;
  size_t offset = 0;
  pcre2_code* const code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                    PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

std::string fault_in(const ordered_json& schema, int depth);

std::string fault_in_list(const ordered_json& list, int depth) {
  if (list.empty()) return "[] should be non-empty";
  for (const auto& schema : list) {
    if (auto fault = fault_in(schema, depth); !fault.empty()) return fault;
  }
  return {};
}

std::string fault_in_keyword(Shape shape, const ordered_json& value, int depth) {
  const auto unless = [&](bool valid, std::string_view wanted) {
    if (valid) return std::string();
    return fmt::format("{} is not {}",
                       value.dump(-1, ' ', false, ordered_json::error_handler_t::replace).substr(0, 200), wanted);
  };
  switch (shape) {
    case Shape::Schema:
      return fault_in(value, depth);
    case Shape::SchemaOrList:
      return value.is_array() ? fault_in_list(value, depth) : fault_in(value, depth);
    case Shape::SchemaList:
      return value.is_array() ? fault_in_list(value, depth) : unless(false, "of type 'array'");
    case Shape::SchemaMap:
    case Shape::Dependencies:
      if (!value.is_object()) return unless(false, "of type 'object'");
      for (const auto& [name, schema] : value.items()) {
        if (shape == Shape::Dependencies && is_names(schema)) continue;
        if (auto fault = fault_in(schema, depth); !fault.empty()) return fault;
      }
      return {};
    case Shape::Text:
      return unless(value.is_string(), "of type 'string'");
    case Shape::Pattern:
      if (!value.is_string()) return unless(false, "of type 'string'");
      return unless(is_pattern(value.get<std::string>()), "a 'regex'");
    case Shape::Flag:
      return unless(value.is_boolean(), "of type 'boolean'");
    case Shape::Number:
      return unless(value.is_number(), "of type 'number'");
    case Shape::PositiveNumber:
      return unless(value.is_number() && value.get<double>() > 0, "a number above 0");
    case Shape::Count:
      return unless(is_count(value), "a whole number from 0");
    case Shape::Names:
      return unless(is_names(value), "a list of distinct strings");
    case Shape::Types:
      return unless(is_types(value), "valid under any of the given schemas");
    case Shape::List:
      return unless(value.is_array(), "of type 'array'");
  }
  return {};
}

std::string fault_in(const ordered_json& schema, int depth) {
  constexpr int kMaxDepth = 200;
  if (depth > kMaxDepth) return "the schema is nested too deeply";
  if (schema.is_boolean()) return {};
  if (!schema.is_object()) return "a schema is an object or a boolean";
  for (const auto& [name, value] : schema.items()) {
    const auto shape = keywords().find(name);
    if (shape == keywords().end()) continue;
    if (auto fault = fault_in_keyword(shape->second, value, depth + 1); !fault.empty()) return name + ": " + fault;
  }
  return {};
}
}  // namespace

std::string schema_fault(const ordered_json& schema) { return fault_in(schema, 0); }

}  // namespace ostro
