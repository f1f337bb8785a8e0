// GGUF metadata -> ModelSpec: which family reads an architecture.
#include "model/read_spec_gguf.h"

#include <array>

#include "base/error.h"

namespace ostro {

namespace {

using Reader = ModelSpec (*)(GgufFields& fields);
struct Architecture {
  std::string_view name;
  Reader read;
};
constexpr std::array kArchitectures = {
    Architecture{"llama", read_llama_gguf},
};

}  // namespace

ModelSpec read_gguf_spec(const WeightStore& store) {
  CHECK(store.gguf.has_value());
  const auto name = store.gguf->text("general.architecture");
  std::string supported;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) {
      GgufFields fields(store, architecture.name);
      return architecture.read(fields);
    }
    supported.append(supported.empty() ? "" : ", ").append(architecture.name);
  }
  throw_error(ErrorKind::File, "{}: general.architecture is {}, supported: {}", store.path,
              name ? "\"" + *name + "\"" : "missing", supported);
}

}  // namespace ostro
