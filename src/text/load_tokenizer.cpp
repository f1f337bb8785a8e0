// Which tokenizer a file or a checkpoint holds.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_file.h"
#include "formats/untrusted.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLongestConfig = 16u << 20;  // bytes

nlohmann::json optional_json(const fs::path& folder, const char* name) {
  std::error_code ignored;
  const fs::path path = folder / name;
  return fs::exists(path, ignored) ? read_json_file(path.string(), kLongestConfig) : nlohmann::json();
}

std::unique_ptr<Tokenizer> from_json_text(std::string_view text, const std::string& path) {
  const nlohmann::json json = parse_json(text, path);
  const bool tekken = json.is_object() && json.contains("config") && json.contains("vocab");
  return tekken ? tokenizer_from_tekken(json, path)
                : tokenizer_from_json(json, optional_json(fs::path(path).parent_path(), "tokenizer_config.json"), path);
}

bool looks_like_tiktoken(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  return line.size() < 4096 &&
         line.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \r") == line.npos &&
         line.find(' ') != line.npos;
}

// The name is no guide: some tokenizer.model files are tiktoken's.
std::unique_ptr<Tokenizer> load_by_content(const MappedFile& file) {
  const std::string_view text = as_text(file.bytes());
  const std::string& path = file.path();
  if (text.starts_with("GGUF")) return tokenizer_from_gguf(parse_gguf(file.bytes(), path).metadata, path);
  const size_t front = text.find_first_not_of(" \t\r\n");
  if (front != text.npos && text[front] == '{') return from_json_text(text, path);
  if (looks_like_tiktoken(text)) return tokenizer_from_tiktoken(text, path);
  // Every SentencePiece model begins with its first piece: field 1, a message.
  if (text.starts_with('\n')) return make_sentencepiece_tokenizer(read_sentencepiece_model(file.bytes(), path), path);
  throw_error(ErrorKind::File,
              "{}: {}; expected a tokenizer: SentencePiece's .model, tokenizer.json, tekken.json, .tiktoken or GGUF",
              path, appearance(file.bytes()));
}

// The first of these that is in the folder; "" when none is.
std::string first_file(const std::string& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::error_code ignored;
    if (const fs::path path = fs::path(folder) / name; fs::exists(path, ignored)) return path.string();
  }
  return "";
}

// What tokenizer_config.json and config.json say beyond the vocabulary.
void apply_configs(Tokenizer& tokenizer, const WeightStore& store) {
  const auto id_of = [&](const char* key) {
    if (!store.config.is_object() || !store.config.contains(key)) return -1;
    const nlohmann::json& value = store.config[key];
    const nlohmann::json& first = value.is_array() && !value.empty() ? value.front() : value;
    if (!first.is_number_integer()) return -1;
    const auto id = first.get<int64_t>();
    return id >= 0 && id < tokenizer.vocab_size() ? static_cast<int>(id) : -1;
  };
  if (tokenizer.bos < 0) tokenizer.bos = id_of("bos_token_id");
  if (tokenizer.eos < 0) tokenizer.eos = id_of("eos_token_id");
  if (tokenizer.pad < 0) tokenizer.pad = id_of("pad_token_id");
  const nlohmann::json config = optional_json(store.folder, "tokenizer_config.json");
  if (!config.is_object()) return;
  const auto flag = [&](const char* key, bool otherwise) {
    const auto found = config.find(key);
    return found != config.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  };
  tokenizer.add_bos = tokenizer.bos >= 0 && flag("add_bos_token", tokenizer.add_bos);
  tokenizer.add_eos = tokenizer.eos >= 0 && flag("add_eos_token", tokenizer.add_eos);
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer_file(const std::string& path) { return load_by_content(MappedFile(path)); }

std::unique_ptr<Tokenizer> load_tokenizer(const WeightStore& store) {
  if (store.gguf)
    return store.gguf->has("tokenizer.ggml.model") ? tokenizer_from_gguf(*store.gguf, store.path) : nullptr;
  const std::string json = first_file(store.folder, {"tokenizer.json", "tekken.json"});
  const std::string model =
      first_file(store.folder, {"tokenizer.model", "spiece.model", "tokenizer.model.v3", "tokenizer.model.v2",
                                "tokenizer.model.v1", "cl100k_base.tiktoken"});
  std::unique_ptr<Tokenizer> tokenizer;
  if (!model.empty()) tokenizer = load_tokenizer_file(model);
  // The .model is what the model was trained with; tokenizer.json is made from it, and only it knows of tokens that
  // were added since.
  if (!json.empty()) {
    auto other = load_tokenizer_file(json);
    if (tokenizer == nullptr || other->vocab_size() > tokenizer->vocab_size()) tokenizer = std::move(other);
  }
  if (tokenizer != nullptr) apply_configs(*tokenizer, store);
  return tokenizer;
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path) {
  const fs::path given(path);
  std::error_code ignored;
  const bool weights = std::ranges::any_of(std::initializer_list<const char*>{".safetensors", ".bin", ".pth", ".pt"},
                                           [&](const char* suffix) { return given.extension() == suffix; });
  if (!weights && !fs::is_directory(given, ignored)) return load_tokenizer_file(path);
  WeightStore store;
  store.path = path;
  store.folder = weights ? given.parent_path().string() : path;
  store.config = optional_json(store.folder, "config.json");
  auto tokenizer = load_tokenizer(store);
  if (tokenizer == nullptr) {
    throw_error(ErrorKind::File, "{}: no tokenizer: expected tokenizer.json, tokenizer.model or tekken.json in it",
                store.folder);
  }
  return tokenizer;
}

}  // namespace ostro
