#include "model/tensor_names.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace ostro {

namespace {

constexpr std::array kFamilyTables = {&llama_name_tables, &openmoe_name_tables, &qwen_name_tables};

const char* name_of(CheckpointFormat format) {
  switch (format) {
    case CheckpointFormat::HuggingFace:
      return "Hugging Face";
    case CheckpointFormat::Mistral:
      return "Mistral";
    case CheckpointFormat::Gguf:
      break;
  }
  return "GGUF";
}

void replace(std::string& text, std::string_view placeholder, int64_t number) {
  const size_t at = text.find(placeholder);
  if (at != std::string::npos) text.replace(at, placeholder.size(), std::to_string(number));
}

}  // namespace

const NameTable& name_table(CheckpointFormat format, std::string_view family) {
  for (const auto tables : kFamilyTables) {
    for (const NameTable& table : tables()) {
      if (table.format == format && std::ranges::find(table.families, family) != table.families.end()) return table;
    }
  }
  throw_error(ErrorKind::File, "the family {} has no {} layout that ostro knows", family, name_of(format));
}

const TensorName& written_name(const NameTable& table, Role role) {
  const auto found = std::ranges::find(table.names, role, &TensorName::role);
  if (found == table.names.end()) {
    throw_error(ErrorKind::File, "{} has no name for the {} in models of this family", name_of(table.format),
                to_text({role}));
  }
  return *found;
}

std::string expand(std::string_view pattern, int64_t layer, int64_t expert) {
  std::string name(pattern);
  replace(name, "{layer}", layer);
  replace(name, "{expert}", expert);
  return name;
}

}  // namespace ostro
