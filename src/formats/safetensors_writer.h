// Writes safetensors: one file, or the shards of a folder with their index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "formats/write_order.h"
#include "tensor/dtype.h"

namespace ostro {

struct SafetensorsPlan {
  std::string name;
  std::string dtype;  // as the format spells it: "BF16", "F32", "I32", ...
  std::vector<int64_t> shape;
};

// "BF16" for DType::BF16; Error(File) for a quantised type, which the format cannot hold.
std::string safetensors_dtype(DType type);

class SafetensorsWriter {
 public:
  // Writes the header. List tensors of wide types before those of narrow ones, so that each lies at a multiple of its
  // element's size. Throws Error(Io), Error(File).
  SafetensorsWriter(const std::string& path, const std::vector<SafetensorsPlan>& tensors,
                    const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

  // The next bytes of `tensor`: in the announced order, in one or several pieces.
  void write(std::string_view tensor, std::span<const std::byte> bytes);

  // After the last tensor: the file appears under its name.
  void commit();

 private:
  AtomicFile file_;
  WriteOrder order_;
};

// <folder>/<stem>.safetensors, or when the tensors are more than `shard_bytes`, <stem>-0000i-of-0000N.safetensors and
// <stem>.safetensors.index.json. Nothing appears before commit(), the index last. The folder must exist and should hold
// no other model; config files are the caller's, after commit().
class ShardedSafetensorsWriter {
 public:
  ShardedSafetensorsWriter(const std::string& folder, const std::string& stem, std::vector<SafetensorsPlan> tensors,
                           uint64_t shard_bytes);

  void write(std::string_view tensor, std::span<const std::byte> bytes);
  void commit();

 private:
  struct Shard {
    std::string name;
    std::vector<SafetensorsPlan> tensors;
    uint64_t bytes = 0;
    std::unique_ptr<SafetensorsWriter> writer;  // from its first tensor on
  };
  void open(Shard& shard);

  std::string folder_, stem_;
  std::vector<Shard> shards_;
  std::map<std::string, size_t, std::less<>> shard_of_;
};

}  // namespace ostro
