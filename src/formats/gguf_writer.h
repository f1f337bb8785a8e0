// Writes GGUF version 3: metadata and descriptions first, then the tensors one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "formats/gguf.h"
#include "formats/write_order.h"
#include "tensor/dtype.h"

namespace ostro {

struct GgufTensorPlan {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;  // row-major, outermost first
};

class GgufWriter {
 public:
  // Writes everything that comes before the data. Values keep the type noted in `metadata.types`; without a note, whole
  // numbers become u32 (i32 when negative, and in arrays of int64), or 64 bits wide if they must, and floats f32: the
  // types that readers of GGUF insist on. Keys "split.*" are left out, as this is one file.
  // Throws Error(Io); Error(File) for a shape that GGUF cannot hold.
  GgufWriter(const std::string& path, const GgufMetadata& metadata, const std::vector<GgufTensorPlan>& tensors);

  // The next bytes of `tensor`: in the announced order, in one or several pieces.
  void write(std::string_view tensor, std::span<const std::byte> bytes);

  // After the last tensor: the file appears under its name.
  void commit();

 private:
  void pad();

  AtomicFile file_;
  WriteOrder order_;
  uint64_t alignment_;
};

}  // namespace ostro
