#include "model/config_fields.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"

namespace ostro {

namespace {

constexpr int64_t kLargest = int64_t{1} << 53;

// A value as a message shows it: on one line, not too long, valid UTF-8.
std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

// Whole numbers may be written 32 or 32.0.
std::optional<int64_t> as_whole(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    return number <= static_cast<uint64_t>(kLargest) ? std::optional(static_cast<int64_t>(number)) : std::nullopt;
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (number >= 0 && number <= static_cast<double>(kLargest) &&
        number == static_cast<double>(static_cast<int64_t>(number))) {
      return static_cast<int64_t>(number);
    }
  }
  return std::nullopt;
}

}  // namespace

ConfigFields::ConfigFields(const nlohmann::json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object()) throw_error(ErrorKind::File, "{}: expected an object, found {}", where_, shown(object));
}

bool ConfigFields::has(std::string_view name) const {
  const auto found = object_.find(name);
  return found != object_.end() && !found->is_null();
}

const nlohmann::json* ConfigFields::find(std::string_view name) {
  read_.emplace(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigFields::refuse(std::string_view name, std::string_view supported) const {
  const auto found = object_.find(name);
  throw_error(ErrorKind::File, "{}: {} is {}, supported: {}", where_, name,
              found == object_.end() ? "missing" : shown(*found), supported);
}

int64_t ConfigFields::whole(std::string_view name) {
  const auto value = maybe_whole(name);
  if (!value) refuse(name, "a whole number");
  return *value;
}

std::optional<int64_t> ConfigFields::maybe_whole(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto number = as_whole(*value);
  if (!number) refuse(name, "a whole number");
  return number;
}

double ConfigFields::number(std::string_view name) {
  const auto value = maybe_number(name);
  if (!value) refuse(name, "a number");
  return *value;
}

std::optional<double> ConfigFields::maybe_number(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) refuse(name, "a number");
  return value->get<double>();
}

std::optional<bool> ConfigFields::maybe_flag(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse(name, "true or false");
  return value->get<bool>();
}

std::optional<std::string> ConfigFields::maybe_text(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(name, "a string");
  return value->get<std::string>();
}

std::vector<int32_t> ConfigFields::tokens(std::string_view name) {
  const nlohmann::json* value = find(name);
  if (value == nullptr) return {};
  std::vector<int32_t> ids;
  const auto take = [&](const nlohmann::json& one) {
    const auto id = as_whole(one);
    if (!id || *id < 0 || *id > std::numeric_limits<int32_t>::max()) refuse(name, "a token id or a list of them");
    ids.push_back(static_cast<int32_t>(*id));
  };
  if (value->is_array()) {
    std::for_each(value->begin(), value->end(), take);
  } else {
    take(*value);
  }
  return ids;
}

const nlohmann::json& ConfigFields::raw(std::string_view name) {
  static const nlohmann::json null;
  const nlohmann::json* value = find(name);
  return value == nullptr ? null : *value;
}

void ConfigFields::only_text(std::string_view name, std::initializer_list<std::string_view> supported) {
  const auto value = maybe_text(name);
  if (!value || std::find(supported.begin(), supported.end(), *value) != supported.end()) return;
  std::string list;
  for (const std::string_view text : supported) list.append(list.empty() ? "" : ", ").append(text);
  refuse(name, list);
}

void ConfigFields::only_false(std::string_view name) {
  if (maybe_flag(name).value_or(false)) refuse(name, "false");
}

void ConfigFields::harmless(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) read_.emplace(name);
}

std::vector<std::string> ConfigFields::unread() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_.items()) {
    const bool says_nothing = value.is_null() || value == false || (value.is_structured() && value.empty()) ||
                              (value.is_string() && value.get_ref<const std::string&>().empty());
    if (!says_nothing && !read_.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace ostro
