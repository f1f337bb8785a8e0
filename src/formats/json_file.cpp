#include "formats/json_file.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "formats/untrusted.h"

namespace ostro {

nlohmann::json parse_json(std::string_view text, const std::string& where) {
  using json = nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects around the current place
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kJsonDepth) throw_error(ErrorKind::File, "{}: nested deeper than {} levels", where, kJsonDepth);
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw_error(ErrorKind::File, "{}: key {} appears twice in one object", where,
                  quote(parsed.get_ref<const std::string&>()));
    }
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& error) {
    throw_error(ErrorKind::File, "{}: not valid JSON: {}", where, json_reason(error));
  }
}

std::string_view json_reason(const std::exception& error) {
  const std::string_view text = error.what();
  const size_t code_end = text.find("] ");
  return code_end == std::string_view::npos ? text : text.substr(code_end + 2);
}

nlohmann::json read_json_file(const std::string& path, uint64_t limit) {
  return parse_json(read_text_file(path, limit), path);
}

}  // namespace ostro
