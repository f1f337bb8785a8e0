#include "cli/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "cli/suggest.h"

namespace ostro {
namespace {

template <typename T>
bool parse_all(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stopped == end;
}

// The name to show in an error: the long one.
std::string shown_name(const std::string& names) {
  const std::string last = names.substr(names.rfind(',') + 1);
  return is_one_dash_name(std::string_view(last).substr(std::min<size_t>(2, last.size()))) ? last.substr(1) : last;
}

std::string join(const std::vector<int64_t>& values) { return fmt::format("{}", fmt::join(values, ",")); }

}  // namespace

bool is_one_dash_name(std::string_view name) {
  static constexpr std::array<std::string_view, 3> kNames = {"ub", "ctk", "ctv"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

int64_t parse_integer(std::string_view flag, std::string_view text, int64_t low, int64_t high) {
  int64_t value = 0;
  if (!parse_all(text, value) || value < low || value > high)
    throw_error(ErrorKind::Usage, "{} {}: expected a whole number from {} to {}", flag, text, low, high);
  return value;
}

double parse_number(std::string_view flag, std::string_view text, double low, double high) {
  double value = 0;
  if (!parse_all(text, value) || !std::isfinite(value) || value < low || value > high)
    throw_error(ErrorKind::Usage, "{} {}: expected a number from {} to {}", flag, text, low, high);
  return value;
}

std::vector<int64_t> parse_integers(std::string_view flag, std::string_view text, int64_t low, int64_t high) {
  std::vector<int64_t> values;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\n')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\n')) item.remove_suffix(1);
    values.push_back(parse_integer(flag, item, low, high));
    if (comma == std::string_view::npos) return values;
    text.remove_prefix(comma + 1);
  }
}

std::vector<int32_t> parse_ids(std::string_view what, std::string_view text) {
  constexpr std::string_view kBetween = " \t\r\n[],";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(kBetween); at != text.npos; at = text.find_first_not_of(kBetween, at)) {
    const std::string_view id = text.substr(at, text.find_first_of(kBetween, at) - at);
    ids.push_back(static_cast<int32_t>(parse_integer(what, id, 0, INT32_MAX)));
    at += id.size();
  }
  return ids;
}

CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value, int64_t low, int64_t high,
                         const std::string& help) {
  auto set = [&value, low, high, flag = shown_name(names)](const std::string& text) {
    value = parse_integer(flag, text, low, high);
  };
  return app.add_option_function<std::string>(names, set, help)
      ->take_last()
      ->type_name("N")
      ->default_str(std::to_string(value));
}

CLI::Option* add_number(CLI::App& app, const std::string& names, double& value, double low, double high,
                        const std::string& help) {
  auto set = [&value, low, high, flag = shown_name(names)](const std::string& text) {
    value = parse_number(flag, text, low, high);
  };
  return app.add_option_function<std::string>(names, set, help)
      ->take_last()
      ->type_name("X")
      ->default_str(fmt::format("{}", value));
}

CLI::Option* add_integers(CLI::App& app, const std::string& names, std::vector<int64_t>& values, int64_t low,
                          int64_t high, const std::string& help) {
  auto set = [&values, low, high, flag = shown_name(names)](const std::string& text) {
    values = parse_integers(flag, text, low, high);
  };
  return app.add_option_function<std::string>(names, set, help)
      ->take_last()
      ->type_name("N,...")
      ->default_str(join(values));
}

CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::vector<std::string>& choices, const std::string& help) {
  auto set = [&value, choices, flag = shown_name(names)](const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      const std::string near = nearest_name(text, choices);
      throw_error(ErrorKind::Usage, "{} {}: expected one of {}{}", flag, text, fmt::join(choices, ", "),
                  near.empty() ? "" : fmt::format("; did you mean {}?", near));
    }
    value = text;
  };
  return app.add_option_function<std::string>(names, set, help)
      ->take_last()
      ->type_name(fmt::format("{}", fmt::join(choices, "|")))
      ->default_str(value);
}

}  // namespace ostro
