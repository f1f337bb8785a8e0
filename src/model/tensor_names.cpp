#include "model/tensor_names.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "formats/mxfp4_pairs.h"

namespace ostro {

namespace {

constexpr std::array kFamilyTables = {&llama_name_tables, &openmoe_name_tables, &qwen_name_tables,    &dbrx_name_tables,
                                      &grok_name_tables,  &gpt_oss_name_tables, &deepseek_name_tables};

const char* name_of(CheckpointFormat format) {
  switch (format) {
    case CheckpointFormat::HuggingFace:
      return "Hugging Face";
    case CheckpointFormat::Mistral:
      return "Mistral";
    case CheckpointFormat::NumberedPickles:
      return "numbered pickles";
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

bool has_name(const NameTable& table, Role role) {
  return std::ranges::find(table.names, role, &TensorName::role) != table.names.end();
}

bool is_pair(const TensorName& name) { return name.pattern.ends_with(kMxfp4CodesSuffix); }

const TensorName& written_name(const NameTable& table, Role role, DType type) {
  auto found = std::ranges::find(table.names, role, &TensorName::role);
  const auto pair =
      std::ranges::find_if(table.names, [&](const TensorName& name) { return name.role == role && is_pair(name); });
  if (type == DType::MXFP4 && pair != table.names.end()) found = pair;
  if (found == table.names.end()) {
    throw_error(ErrorKind::File, "{} has no name for the {} in models of this family", name_of(table.format),
                to_text({role}));
  }
  return *found;
}

void name_numbered_tensors(WeightStore& store) {
  const NameTable& table = name_table(CheckpointFormat::NumberedPickles, "grok");
  const auto of_layers = std::ranges::count_if(
      table.names, [](const TensorName& name) { return name.pattern.find("{layer}") != name.pattern.npos; });
  const std::ptrdiff_t others = std::ssize(table.names) - of_layers, files = std::ssize(store.tensors);
  const int64_t layers = (files - others) / of_layers;
  if (layers < 1 || files != others + layers * of_layers) {
    throw_error(ErrorKind::File, "{}: {} tensors, expected {} and {} for each layer", store.path, files, others,
                of_layers);
  }
  std::vector<std::string> names;
  for (const TensorName& name : table.names) {
    const int64_t times = name.pattern.find("{layer}") == name.pattern.npos ? 1 : layers;
    for (int64_t layer = 0; layer < times; ++layer) names.push_back(expand(name.pattern, layer));
  }
  std::ranges::sort(names);
  std::map<std::string, TensorEntry> named;
  auto next = names.begin();
  for (auto& [number, tensor] : store.tensors) {
    tensor.name = *next;
    named.emplace(*next++, std::move(tensor));
  }
  store.tensors = std::move(named);
}

std::string expand(std::string_view pattern, int64_t layer, int64_t expert) {
  std::string name(pattern);
  replace(name, "{layer}", layer);
  replace(name, "{expert}", expert);
  return name;
}

}  // namespace ostro
