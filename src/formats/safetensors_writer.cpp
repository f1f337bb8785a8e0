#include "formats/safetensors_writer.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/checked.h"
#include "base/error.h"
#include "formats/safetensors.h"
#include "formats/tensor_entry.h"

namespace ostro {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kHeaderAlignment = 8;  // of the data's start

uint64_t bytes_of(const SafetensorsPlan& tensor) {
  const auto bits = safetensors_bits(tensor.dtype);
  CHECK(bits && *bits % 8 == 0);
  const std::string where = fmt::format("tensor '{}'", tensor.name);
  const auto bytes = checked_mul(element_count(tensor.shape, where), *bits / 8);
  if (!bytes) throw_error(ErrorKind::File, "{}: its size in bytes overflows", where);
  return *bytes;
}

uint64_t sum(uint64_t a, uint64_t b) {
  const auto total = checked_add(a, b);
  if (!total) throw_error(ErrorKind::File, "the size of all tensors overflows");
  return *total;
}

}  // namespace

std::string safetensors_dtype(DType type) {
  if (is_quantized(type)) throw_error(ErrorKind::File, "safetensors cannot hold {} tensors", info(type).name);
  std::string name(info(type).name);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, const std::vector<SafetensorsPlan>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  // Member by member, as the format's own writer orders them.
  std::string text = "{";
  const auto put = [&](const std::string& name, const std::string& value) {
    text += fmt::format("{}{}:{}", text.size() > 1 ? "," : "", Json(name).dump(), value);
  };
  if (!metadata.empty()) put("__metadata__", Json(metadata).dump());
  uint64_t offset = 0;
  std::set<std::string_view> names;
  for (const auto& tensor : tensors) {
    CHECK(names.insert(tensor.name).second);
    const uint64_t size = bytes_of(tensor);
    const uint64_t end = sum(offset, size);
    put(tensor.name, fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", tensor.dtype,
                                 Json(tensor.shape).dump(), offset, end));
    if (size > 0) order_.add(tensor.name, size);
    offset = end;
  }
  text += '}';
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  const uint64_t length = text.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(text);
}

void SafetensorsWriter::write(std::string_view tensor, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  order_.advance(tensor, bytes.size());
  file_.write(bytes);
}

void SafetensorsWriter::commit() {
  CHECK(order_.complete());
  file_.commit();
}

ShardedSafetensorsWriter::ShardedSafetensorsWriter(const std::string& folder, const std::string& stem,
                                                   std::vector<SafetensorsPlan> tensors, uint64_t shard_bytes)
    : folder_(folder), stem_(stem), shards_(1) {
  for (auto& tensor : tensors) {
    const uint64_t size = bytes_of(tensor);
    if (!shards_.back().tensors.empty() && sum(shards_.back().bytes, size) > shard_bytes) shards_.emplace_back();
    CHECK(shard_of_.emplace(tensor.name, shards_.size() - 1).second);
    shards_.back().bytes = sum(shards_.back().bytes, size);
    shards_.back().tensors.push_back(std::move(tensor));
  }
  for (size_t i = 0; i < shards_.size(); ++i) {
    shards_[i].name = shards_.size() == 1 ? stem + ".safetensors"
                                          : fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, shards_.size());
  }
}

void ShardedSafetensorsWriter::open(Shard& shard) {
  if (shard.writer != nullptr) return;
  const std::string path = (std::filesystem::path(folder_) / shard.name).string();
  shard.writer = std::make_unique<SafetensorsWriter>(path, shard.tensors);
}

void ShardedSafetensorsWriter::write(std::string_view tensor, std::span<const std::byte> bytes) {
  const auto found = shard_of_.find(tensor);
  CHECK(found != shard_of_.end());
  Shard& shard = shards_[found->second];
  open(shard);
  shard.writer->write(tensor, bytes);
}

void ShardedSafetensorsWriter::commit() {
  for (auto& shard : shards_) {
    open(shard);  // one of empty tensors only was never opened
    shard.writer->commit();
  }
  if (shards_.size() == 1) return;
  uint64_t total = 0;
  Json names = Json::object();
  for (const auto& shard : shards_) total += shard.bytes;
  for (const auto& [tensor, shard] : shard_of_) names[tensor] = shards_[shard].name;
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", names}};
  write_file_atomically((std::filesystem::path(folder_) / (stem_ + ".safetensors.index.json")).string(),
                        index.dump(2) + "\n");
}

}  // namespace ostro
