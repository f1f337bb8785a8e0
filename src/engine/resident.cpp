#include "engine/resident.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/pages.h"
#include "base/threads.h"
#include "tensor/interleave.h"

namespace ostro {
namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kTaskBytes = int64_t{4} << 20;

class Mover {
 public:
  Mover(Model& model, const Backend& backend, std::function<void(uint64_t, uint64_t)> progress)
      : model_(model), backend_(backend), team_(backend.threads()), progress_(std::move(progress)) {}

  void run() {
    size_t room = 0;
    each_matrix([&](Matrix& matrix) {
      total_ += matrix.bytes();
      if (mapped(matrix)) room += room_of(matrix.bytes());
    });
    const auto pages = allocate_huge_pages(room);
    next_ = pages.get();
    each_matrix([&](Matrix& matrix) { move(matrix); });
    // Views of the same tensors.
    Weights& weights = model_.weights;
    for (Matrix* matrix : {&weights.output, &weights.mtp.embedding, &weights.mtp.output}) {
      if (const auto moved = moved_.find(matrix->data); moved != moved_.end()) *matrix = moved->second;
    }
    weights.owners.push_back(pages);
  }

 private:
  void each_matrix(const std::function<void(Matrix&)>& use) {
    visit_matrices(model_.spec, model_.weights,
                   [&](const TensorId&, const Matrix& matrix) { use(const_cast<Matrix&>(matrix)); });
  }

  static bool mapped(const Matrix& matrix) { return mapped_path_at(matrix.data) != nullptr; }

  std::byte* take(size_t bytes) {
    std::byte* at = next_;
    next_ += room_of(bytes);
    return at;
  }
  static size_t room_of(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

  void move(Matrix& matrix) {
    const auto [entry, is_new] = moved_.try_emplace(matrix.data, matrix);
    if (is_new) {
      Matrix& out = entry->second;
      out.interleaved = backend_.reads_interleaved(matrix.dtype) && can_interleave(matrix.dtype, matrix.cols);
      if (mapped(matrix)) {
        std::byte* to = take(matrix.bytes());
        out.data = to;
        copy(to, matrix, out.interleaved, true);
      } else if (out.interleaved) {
        copy(const_cast<std::byte*>(matrix.data), matrix, true, false);
      }
    }
    CHECK(entry->second.rows == matrix.rows && entry->second.cols == matrix.cols);
    done_ += matrix.bytes();
    matrix = entry->second;
    if (progress_) progress_(done_, total_);
  }

  // `to` may be the matrix itself.
  void copy(std::byte* to, const Matrix& from, bool interleave, bool from_file) {
    const int64_t group_bytes = kInterleavedRows * from.row_bytes;
    const int64_t task_rows = std::max<int64_t>(1, kTaskBytes / group_bytes) * kInterleavedRows;
    team_.run((from.rows + task_rows - 1) / task_rows, [&](int64_t task, int) {
      const int64_t first = task * task_rows, end = std::min(first + task_rows, from.rows);
      const std::byte* in = from.row(first);
      const auto size = static_cast<size_t>((end - first) * from.row_bytes);
      if (from_file) read_pages({in, size});
      std::byte* out = to + first * from.row_bytes;
      if (!interleave) {
        if (out != in) std::memcpy(out, in, size);
      } else {
        std::vector<std::byte> group(out == in ? static_cast<size_t>(group_bytes) : 0);
        for (int64_t row = first; row < end; row += kInterleavedRows, in += group_bytes, out += group_bytes) {
          if (row + kInterleavedRows > end) {
            if (out != in) std::memcpy(out, in, static_cast<size_t>((end - row) * from.row_bytes));
          } else if (out == in) {
            std::memcpy(group.data(), in, group.size());
            interleave_rows(out, group.data(), from.dtype, from.row_bytes);
          } else {
            interleave_rows(out, in, from.dtype, from.row_bytes);
          }
        }
      }
      if (from_file) advise_pages({from.row(first), size}, MADV_DONTNEED);
    });
  }

  Model& model_;
  const Backend& backend_;
  ThreadTeam team_;
  std::function<void(uint64_t, uint64_t)> progress_;
  std::byte* next_ = nullptr;                 // in the huge pages
  std::map<const std::byte*, Matrix> moved_;  // by where they lay
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

void make_resident(Model& model, const Backend& backend,
                   const std::function<void(uint64_t done, uint64_t total)>& progress) {
  Mover(model, backend, progress).run();
}

}  // namespace ostro
