// Views of memory that someone else owns: rows of activations and weight matrices. No general N-d tensor: only files
// are N-dimensional.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/dtype.h"

namespace ostro {

// Activations: [rows, width] float32, rows adjacent.
struct Rows {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t width = 0;

  float* row(int64_t i) const { return data + i * width; }
  std::span<float> values() const { return {data, static_cast<size_t>(rows * width)}; }
  Rows slice(int64_t first, int64_t count) const { return {row(first), count, width}; }
};

// A weight: [rows = outputs, cols = inputs] of any DType, read-only; y = x * W^T. Codes of F8_E4M3 have a grid of
// scales, one for each square of kScaleBlock weights: W[r][c] = code * scales[(scale_row + r) / 128][c / 128].
struct Matrix {
  const std::byte* data = nullptr;
  DType dtype = DType::F32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_bytes = 0;
  const float* scales = nullptr;  // null where each code is its weight
  int64_t scale_stride = 0;       // scales in a row of the grid
  int64_t scale_row = 0;          // the first row's place in the tensor that the grid covers
  bool interleaved = false;       // order of the bytes: tensor/interleave.h

  // Of an interleaved matrix: only where a group of rows begins.
  const std::byte* row(int64_t i) const { return data + i * row_bytes; }
  size_t bytes() const { return static_cast<size_t>(rows * row_bytes); }
};

// Owned activations that keep their memory between uses.
class RowBuffer {
 public:
  // A [rows, width] view; contents are unspecified.
  Rows resize(int64_t rows, int64_t width) {
    const size_t need = static_cast<size_t>(rows * width);
    if (storage_.size() < need) storage_.resize(need);
    view_ = {storage_.data(), rows, width};
    return view_;
  }
  Rows view() const { return view_; }

 private:
  std::vector<float> storage_;
  Rows view_;
};

}  // namespace ostro
