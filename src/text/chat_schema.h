// JSON Schema (draft 7): whether a tool's parameters are a schema at all.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace ostro {

// Empty when `schema` is valid by the meta-schema of draft 7, else what is wrong.
std::string schema_fault(const nlohmann::ordered_json& schema);

}  // namespace ostro
