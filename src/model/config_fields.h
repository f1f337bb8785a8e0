// Reading the fields of a JSON configuration strictly: each one typed, each error naming file, field, value and what
// was expected, and no field left unread without a word.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ostro {

class ConfigFields {
 public:
  // `where` begins every message: "folder/config.json" or "folder/config.json: rope_scaling".
  // Throws Error(File) where `object` is not an object. `object` must outlive this.
  ConfigFields(const nlohmann::json& object, std::string where);

  const std::string& where() const { return where_; }
  bool has(std::string_view name) const;  // there and not null

  // A missing field is nullopt where the name says `maybe`, an error otherwise. Null counts as missing.
  int64_t whole(std::string_view name);
  std::optional<int64_t> maybe_whole(std::string_view name);
  double number(std::string_view name);
  std::optional<double> maybe_number(std::string_view name);
  std::optional<bool> maybe_flag(std::string_view name);
  std::optional<std::string> maybe_text(std::string_view name);
  // A token id or a list of them; empty when missing.
  std::vector<int32_t> tokens(std::string_view name);
  // The field as it is, marked as read; null JSON when missing.
  const nlohmann::json& raw(std::string_view name);

  // Throws unless the field is missing or one of `supported`.
  void only_text(std::string_view name, std::initializer_list<std::string_view> supported);
  void only_false(std::string_view name);
  // Fields that do not change results.
  void harmless(std::initializer_list<std::string_view> names);

  [[noreturn]] void refuse(std::string_view name, std::string_view supported) const;
  // Names of the fields nobody asked for that hold something (not null, false or empty), in order.
  std::vector<std::string> unread() const;

 private:
  const nlohmann::json* find(std::string_view name);

  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace ostro
