// Finds out which layout a path holds, opens its files and gathers their tensors.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/checked.h"
#include "base/error.h"
#include "base/threads.h"
#include "formats/json_file.h"
#include "formats/mxfp4_pairs.h"
#include "formats/numbered_weights.h"
#include "formats/safetensors.h"
#include "formats/torch_file.h"
#include "formats/untrusted.h"
#include "formats/weight_store.h"
#include "formats/zip.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTorchStem = "pytorch_model";
constexpr const char* kNativeStem = "consolidated";
constexpr const char* kIndexSuffix = ".index.json";
constexpr size_t kNamesShown = 5;

std::string some_of(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesShown);
  const std::vector<std::string> first(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown));
  std::string out = fmt::format("{}", fmt::join(first, ", "));
  return names.size() > shown ? fmt::format("{} and {} more", out, names.size() - shown) : out;
}

// The names in a folder, sorted.
std::vector<std::string> list_folder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) throw_error(ErrorKind::Io, "{}: cannot list the folder: {}", folder, error.message());
  std::ranges::sort(names);
  return names;
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::optional<uint32_t> number_of(std::string_view digits) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// "<stem>-00002-of-00005<suffix>"
struct PartName {
  std::string stem;
  uint32_t number = 0, count = 0;
  std::string suffix;

  std::string name(uint32_t part) const { return fmt::format("{}-{:05}-of-{:05}{}", stem, part, count, suffix); }
};

std::optional<PartName> part_name(std::string_view name, std::string_view suffix) {
  constexpr size_t kDigits = 5;
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits;
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  if (name.size() < kTail) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kTail);
  const auto number = number_of(tail.substr(1, kDigits));
  const auto count = number_of(tail.substr(kTail - kDigits));
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf || !number || !count) return std::nullopt;
  return PartName{std::string(name.substr(0, name.size() - kTail)), *number, *count, std::string(suffix)};
}

// The names of all parts of the set that `part` belongs to, in order.
std::vector<std::string> all_parts(const std::string& folder, const PartName& part) {
  if (part.number == 0 || part.number > part.count) {
    throw_error(ErrorKind::File, "{}/{}: there is no part {} of {}", folder, part.name(part.number), part.number,
                part.count);
  }
  std::vector<std::string> names;
  for (uint32_t i = 1; i <= part.count; ++i) names.push_back(part.name(i));
  return names;
}

class Opener {
 public:
  Opener(const std::string& path, const std::string& folder) {
    store_.path = path;
    store_.folder = folder;
  }

  WeightStore take() {
    join_pairs();
    return std::move(store_);
  }

  void open_folder(const std::string& named_file) {
    names_ = list_folder(store_.folder);
    const auto hugging_face = hugging_face_files();
    const auto native = native_files();
    const auto gguf = gguf_models();
    const bool wants_native = named_file.starts_with(kNativeStem) || named_file == "params.json";
    if (contains(names_, "config.json") && !hugging_face.empty() && !(wants_native && !native.empty())) {
      store_.format = CheckpointFormat::HuggingFace;
      store_.config = read_json_file(in_folder("config.json"));
      if (contains(names_, "generation_config.json")) {
        store_.generation_config = read_json_file(in_folder("generation_config.json"));
      }
      open_files(hugging_face);
    } else if (contains(names_, "params.json") && !native.empty()) {
      store_.format = CheckpointFormat::Mistral;
      store_.config = read_json_file(in_folder("params.json"));
      open_files(native);
    } else if (gguf.size() == 1 && named_file.empty()) {
      open_gguf(gguf.front());
    } else if (const auto numbered = numbered_folder(); numbered && named_file.empty()) {
      open_numbered(*numbered);
    } else {
      explain_missing(hugging_face, native, gguf);
    }
    const bool opened = std::ranges::any_of(
        store_.files, [&](const auto& file) { return fs::path(file->path()).filename() == named_file; });
    if (!named_file.empty() && !named_file.ends_with(".json") && !opened) {
      throw_error(ErrorKind::File, "{}: not a file of the model in its folder, which is {}", store_.path,
                  some_of(opened_names()));
    }
  }

  void open_gguf(const std::string& name) {
    store_.format = CheckpointFormat::Gguf;
    std::vector<std::string> parts = {name};
    const auto part = part_name(name, ".gguf");
    if (part) parts = all_parts(store_.folder, *part);
    names_ = list_folder(store_.folder);
    check_present(parts);
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto file = map(parts[i]);
      GgufFile parsed = parse_gguf(file->bytes(), file->path());
      const int64_t number = parsed.metadata.integer("split.no").value_or(0);
      const int64_t count = std::max<int64_t>(parsed.metadata.integer("split.count").value_or(1), 1);
      if (count != static_cast<int64_t>(parts.size()) || number != static_cast<int64_t>(i)) {
        throw_error(ErrorKind::File,
                    "{}: its keys say part {} of {} (split.no + 1, split.count), its name part {} of {}", file->path(),
                    number + 1, count, i + 1, parts.size());
      }
      for (auto& tensor : parsed.tensors) add(std::move(tensor));
      if (i == 0) store_.gguf = std::move(parsed.metadata);
    }
    const auto total = store_.gguf->integer("split.tensors.count");
    if (total && part && static_cast<uint64_t>(*total) != store_.tensors.size()) {
      throw_error(ErrorKind::File, "{}: {} tensors in {} parts, key 'split.tensors.count' says {}", store_.path,
                  store_.tensors.size(), parts.size(), *total);
    }
  }

 private:
  std::string in_folder(const std::string& name) const { return (fs::path(store_.folder) / name).string(); }

  void check_present(const std::vector<std::string>& wanted) const {
    std::vector<std::string> missing;
    std::ranges::copy_if(wanted, std::back_inserter(missing),
                         [&](const auto& name) { return !contains(names_, name); });
    if (missing.empty()) return;
    throw_error(ErrorKind::File, "{}: {} of {} parts are missing: {}", store_.folder, missing.size(), wanted.size(),
                some_of(missing));
  }

  std::vector<std::string> opened_names() const {
    std::vector<std::string> names;
    for (const auto& file : store_.files) names.push_back(fs::path(file->path()).filename().string());
    return names;
  }

  std::shared_ptr<const MappedFile> map(const std::string& name) {
    const std::string path = in_folder(name);
    std::error_code error;
    // Opening a pipe would wait for a writer.
    if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
      throw_error(ErrorKind::File, "{}: expected a regular file", path);
    }
    store_.files.push_back(std::make_shared<const MappedFile>(path));
    return store_.files.back();
  }

  // The folder with tensor00000_000, seen from the one that was named.
  std::optional<std::string> numbered_folder() const {
    for (const char* below : {"", "ckpt-0", "checkpoints/ckpt-0"}) {
      std::error_code ignored;
      if (fs::exists(fs::path(store_.folder) / below / numbered_name(0), ignored)) return below;
    }
    return std::nullopt;
  }

  static std::string numbered_name(size_t number) { return fmt::format("tensor{:05}_000", number); }

  void open_numbered(const std::string& below) {
    store_.format = CheckpointFormat::NumberedPickles;
    const std::string checkpoint = (fs::path(store_.folder) / below).string();
    // Side files may lie beside the weights or up to two folders above.
    for (const char* above : {".", "..", "../.."}) {
      const fs::path folder = fs::path(store_.folder) / above;
      std::error_code ignored;
      if (!fs::exists(folder / "config.json", ignored) && !fs::exists(folder / "tokenizer.model", ignored)) continue;
      store_.folder = folder.lexically_normal().string();
      break;
    }
    if (fs::exists(fs::path(store_.folder) / "config.json")) {
      store_.config = read_json_file(in_folder("config.json"));
    }
    size_t count = 0;
    for (const std::string& name : list_folder(checkpoint)) {
      if (!name.starts_with("tensor")) continue;
      if (name != numbered_name(count)) {
        throw_error(ErrorKind::File, "{}: {} is there, expected {} next", checkpoint, name, numbered_name(count));
      }
      store_.files.push_back(std::make_shared<const MappedFile>((fs::path(checkpoint) / name).string()));
      const MappedFile& file = *store_.files.back();
      add(numbered_tensor(parse_array_pickle(file.bytes(), file.path()), name, file.path(), store_.reordered));
      ++count;
    }
  }

  void add(TensorEntry tensor) {
    const size_t alignment = tensor.dtype == DType::F32 ? 4 : 2;
    if (reinterpret_cast<uintptr_t>(tensor.bytes.data()) % alignment != 0) {
      auto copy = std::make_shared<const std::vector<std::byte>>(tensor.bytes.begin(), tensor.bytes.end());
      tensor.bytes = *copy;
      store_.copies.push_back(std::move(copy));
    }
    const auto [place, added] = store_.tensors.emplace(tensor.name, tensor);
    if (!added) {
      throw_error(ErrorKind::File, "tensor '{}' is in both {} and {}", tensor.name, place->second.file, tensor.file);
    }
  }

  void add_safetensors(const std::string& name) {
    const auto file = map(name);
    for (auto& [tensor_name, tensor] : parse_safetensors(file->bytes(), file->path()).tensors) {
      if (tensor.dtype == "U8") {
        bytes_.emplace(tensor_name, std::pair(std::move(tensor), file->path()));
        continue;
      }
      const auto type = dtype_from_safetensors(tensor.dtype);
      if (!type) {
        throw_error(ErrorKind::File, "{}: tensor '{}' has dtype {}, expected F32, F16, BF16 or F8_E4M3", file->path(),
                    tensor_name, tensor.dtype);
      }
      add({tensor_name, *type, tensor.shape, tensor.bytes, file->path()});
    }
  }

  void add_torch(const std::string& name) {
    const auto file = map(name);
    for (auto& tensor : parse_torch_file(file->bytes(), file->path())) add(std::move(tensor));
  }

  // The files of one layout: "<stem><suffix>", else those of its index, else the numbered ones. With an index the list
  // holds only the index.
  std::vector<std::string> files_of(const std::string& stem, const std::string& suffix) const {
    for (const auto& name : {stem + suffix, stem + suffix + kIndexSuffix}) {
      if (contains(names_, name)) return {name};
    }
    for (const auto& name : names_) {
      const auto part = part_name(name, suffix);
      if (part && part->stem == stem) return all_parts(store_.folder, *part);
    }
    return {};
  }

  // model.safetensors, else what torch wrote before there were safetensors: pytorch_model.bin.
  std::vector<std::string> hugging_face_files() const {
    const auto found = files_of("model", ".safetensors");
    return found.empty() ? files_of(kTorchStem, ".bin") : found;
  }

  // consolidated.safetensors and its sharded form, else consolidated.00.pth, .01.pth, ... or the same with .pt.
  std::vector<std::string> native_files() const {
    auto found = files_of(kNativeStem, ".safetensors");
    for (const char* suffix : {".pth", ".pt"}) {
      if (!found.empty()) break;
      const std::string head = std::string(kNativeStem) + ".";
      for (const std::string_view name : names_) {
        if (!name.starts_with(head) || !name.ends_with(suffix) || name.size() != head.size() + 2 + strlen(suffix))
          continue;
        const auto number = number_of(name.substr(head.size(), 2));
        while (number && found.size() <= *number) found.push_back(fmt::format("{}{:02}{}", head, found.size(), suffix));
      }
    }
    return found;
  }

  // One name for each model: of a split one the first part.
  std::vector<std::string> gguf_models() const {
    std::vector<std::string> models;
    std::set<std::string> sets;
    for (const auto& name : names_) {
      if (!name.ends_with(".gguf")) continue;
      const auto part = part_name(name, ".gguf");
      if (!part || sets.insert(part->name(0)).second) models.push_back(name);
    }
    return models;
  }

  void open_files(const std::vector<std::string>& files) {
    const bool torch = files.front().find(".safetensors") == std::string::npos;
    const auto add_all = [&](const auto& names) {
      check_present({names.begin(), names.end()});
      for (const auto& name : names) torch ? add_torch(name) : add_safetensors(name);
    };
    if (!files.front().ends_with(kIndexSuffix)) return add_all(files);
    const std::string index_path = in_folder(files.front());
    const nlohmann::json index = read_json_file(index_path, 256u << 20);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
      throw_error(ErrorKind::File, "{}: no object 'weight_map'", index_path);
    }
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : index["weight_map"].items()) {
      if (!shard.is_string()) throw_error(ErrorKind::File, "{}: {} maps to no string", index_path, quote(tensor));
      shards.insert(shard.get<std::string>());
    }
    if (shards.empty()) throw_error(ErrorKind::File, "{}: 'weight_map' is empty", index_path);
    for (const auto& shard : shards) {
      check_name(shard, "a shard's name", index_path);
      if (shard.find('/') != std::string::npos) {
        throw_error(ErrorKind::File, "{}: shard {} is not a file of the same folder", index_path, quote(shard));
      }
    }
    add_all(shards);
    std::vector<std::string> missing;
    for (const auto& [tensor, shard] : index["weight_map"].items()) {
      const auto found = store_.tensors.find(tensor);
      if (found == store_.tensors.end() || found->second.file != in_folder(shard.get<std::string>())) {
        missing.push_back(quote(tensor));
      }
    }
    if (!missing.empty()) {
      throw_error(ErrorKind::File, "{}: not in the shard that it names: {}", index_path, some_of(missing));
    }
  }

  [[noreturn]] void explain_missing(const std::vector<std::string>& hugging_face,
                                    const std::vector<std::string>& native,
                                    const std::vector<std::string>& gguf) const {
    const std::string& folder = store_.folder;
    if (!hugging_face.empty()) {
      throw_error(ErrorKind::File, "{}: {} is there, config.json is missing", folder, hugging_face.front());
    }
    if (!native.empty()) {
      throw_error(ErrorKind::File, "{}: {} is there, params.json is missing", folder, native.front());
    }
    if (gguf.size() > 1) {
      throw_error(ErrorKind::File, "{}: several GGUF models, name one: {}", folder, some_of(gguf));
    }
    for (const char* config : {"config.json", "params.json"}) {
      if (!contains(names_, config)) continue;
      throw_error(ErrorKind::File,
                  "{}: {} is there, its weights are missing (model.safetensors, model.safetensors.index.json, "
                  "model-00001-of-N.safetensors, the same of pytorch_model.bin; or consolidated.safetensors, "
                  "consolidated.00.pth, .pt)",
                  folder, config);
    }
    throw_error(ErrorKind::File,
                "{}: no model in this folder: looked for config.json with model.safetensors, params.json with "
                "consolidated.safetensors or consolidated.00.pth, or one .gguf file",
                folder);
  }

  // <name>_blocks [.., groups, 16] and <name>_scales [.., groups] become <name>_blocks [.., 32 groups] in MXFP4.
  void join_pairs() {
    constexpr std::string_view kBlocks = kMxfp4CodesSuffix, kScales = kMxfp4ScalesSuffix;
    for (const auto& [name, found] : bytes_) {
      const auto& [blocks, file] = found;
      const bool is_scales = name.ends_with(kScales);
      const std::string stem = name.substr(0, name.size() - kBlocks.size());
      const auto scales = bytes_.find(stem + std::string(is_scales ? kBlocks : kScales));
      if (!(is_scales || name.ends_with(kBlocks)) || scales == bytes_.end()) {
        throw_error(ErrorKind::File,
                    "{}: tensor '{}' has dtype U8, expected F32, F16, BF16, or MXFP4 as a pair of blocks and scales",
                    file, name);
      }
      if (is_scales) continue;
      TensorEntry entry{name, DType::MXFP4, scales->second.first.shape, {}, file};
      entry.shape.push_back(kMxfp4Codes);
      if (entry.shape != blocks.shape || entry.shape.size() < 3) {
        throw_error(ErrorKind::File,
                    "{}: tensor '{}' has the shape {}, its scales {}, expected the scales' and 16 more", file, name,
                    shape_text(blocks.shape), shape_text(scales->second.first.shape));
      }
      entry.shape.pop_back();
      if (entry.shape.back() > INT64_MAX / 32) throw_error(ErrorKind::File, "{}: tensor '{}' is too long", file, name);
      entry.shape.back() *= 32;
      const size_t size = tensor_bytes(DType::MXFP4, entry.shape, file);
      const auto codes = blocks.bytes, exponents = scales->second.first.bytes;
      constexpr size_t kTogether = 4096;
      const auto fill = [=](std::byte* out, int64_t task) {
        const size_t first = static_cast<size_t>(task) * kTogether;
        const size_t count = std::min(kTogether, exponents.size() - first);
        join_mxfp4(out + kMxfp4Block * first, codes.subspan(kMxfp4Codes * first), exponents.subspan(first, count));
      };
      const auto tasks = static_cast<int64_t>((exponents.size() + kTogether - 1) / kTogether);
      entry.bytes = {store_.reordered.plan(size, codes, {tasks, fill}), size};
      add(std::move(entry));
    }
  }

  WeightStore store_;
  std::vector<std::string> names_;                                          // of the files in the folder
  std::map<std::string, std::pair<SafetensorsTensor, std::string>> bytes_;  // tensors of bytes, and their files
};

}  // namespace

uint64_t WeightStore::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.bytes.size();
  return total;
}

WeightStore open_weights(const std::string& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) throw_error(ErrorKind::Io, "{}: no such file or folder", path);
  if (error) throw_error(ErrorKind::Io, "{}: {}", path, error.message());
  if (fs::is_directory(status)) {
    Opener opener(path, path);
    opener.open_folder("");
    return opener.take();
  }
  if (!fs::is_regular_file(status)) {
    throw_error(ErrorKind::File, "{}: neither a regular file nor a folder", path);
  }
  const fs::path parent = fs::path(path).parent_path();
  const std::string name = fs::path(path).filename().string();
  Opener opener(path, parent.empty() ? "." : parent.string());
  const bool part_of_folder =
      name.starts_with(kTorchStem) ||
      std::ranges::any_of(std::initializer_list<const char*>{".safetensors", ".pth", ".pt", ".json"},
                          [&](const char* suffix) { return name.ends_with(suffix); });
  if (part_of_folder) {
    opener.open_folder(name);
  } else {
    opener.open_gguf(name);
  }
  return opener.take();
}

namespace {
bool has_checksums(const MappedFile& file) { return as_text(file.bytes()).starts_with("PK"); }
}  // namespace

uint64_t checked_bytes(const WeightStore& store) {
  uint64_t total = 0;
  for (const auto& file : store.files) total += has_checksums(*file) ? file->bytes().size() : 0;
  return total;
}

void verify_checksums(const WeightStore& store, const std::function<void(uint64_t bytes)>& done) {
  uint64_t read = 0;
  for (const auto& file : store.files) {
    if (!has_checksums(*file)) continue;
    for (const auto& [name, member] : parse_stored_zip(file->bytes(), file->path())) {
      check_zip_member(name, member, file->path());
      read += member.bytes.size();
      if (done) done(read);
    }
  }
}

}  // namespace ostro
