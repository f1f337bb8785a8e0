#include "engine/resident.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "tensor/interleave.h"

namespace ostro {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int64_t kTaskBytes = int64_t{4} << 20;

// Address space of huge pages, which become memory as they are written.
class HugePages {
 public:
  explicit HugePages(size_t bytes) : size_(bytes + kHugePage) {
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw_error(ErrorKind::Memory, "no address space for {} bytes of weights", bytes);
    data_ = static_cast<std::byte*>(memory);
    madvise(data_, size_, MADV_HUGEPAGE);  // where the kernel will not, small pages serve too
    next_ = data_ + (kHugePage - reinterpret_cast<uintptr_t>(data_) % kHugePage) % kHugePage;
  }
  ~HugePages() { munmap(data_, size_); }
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

  std::byte* take(size_t bytes) {
    std::byte* at = next_;
    next_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    CHECK(next_ <= data_ + size_);
    return at;
  }

 private:
  size_t size_;
  std::byte* data_;
  std::byte* next_;
};

size_t matrix_bytes(const Matrix& matrix) { return static_cast<size_t>(matrix.rows * matrix.row_bytes); }

class Mover {
 public:
  Mover(Model& model, const Backend& backend, std::function<void(uint64_t, uint64_t)> progress)
      : model_(model), backend_(backend), team_(backend.threads()), progress_(std::move(progress)) {}

  void run() {
    size_t room = 0;
    each_matrix([&](Matrix& matrix) {
      total_ += matrix_bytes(matrix);
      if (mapped(matrix)) room += matrix_bytes(matrix) + kAlignment;
    });
    pages_ = std::make_shared<HugePages>(room);
    each_matrix([&](Matrix& matrix) { move(matrix); });
    // Views of the same tensors.
    Weights& weights = model_.weights;
    for (Matrix* matrix : {&weights.output, &weights.mtp.embedding, &weights.mtp.output}) {
      if (const auto moved = moved_.find(matrix->data); moved != moved_.end()) *matrix = moved->second;
    }
    weights.owners.push_back(pages_);
  }

 private:
  void each_matrix(const std::function<void(Matrix&)>& use) {
    visit_matrices(model_.spec, model_.weights,
                   [&](const TensorId&, const Matrix& matrix) { use(const_cast<Matrix&>(matrix)); });
  }

  bool mapped(const Matrix& matrix) const {
    return std::ranges::any_of(model_.store.files, [&](const auto& file) {
      return matrix.data >= file->bytes().data() && matrix.data < file->bytes().data() + file->bytes().size();
    });
  }

  void move(Matrix& matrix) {
    const auto [entry, is_new] = moved_.try_emplace(matrix.data, matrix);
    if (is_new) {
      Matrix& out = entry->second;
      out.interleaved = backend_.reads_interleaved(matrix.dtype) && can_interleave(matrix.dtype, matrix.cols);
      if (mapped(matrix)) {
        std::byte* to = pages_->take(matrix_bytes(matrix));
        out.data = to;
        copy(to, matrix, out.interleaved, true);
      } else if (out.interleaved) {
        copy(const_cast<std::byte*>(matrix.data), matrix, true, false);
      }
    }
    CHECK(entry->second.rows == matrix.rows && entry->second.cols == matrix.cols);
    done_ += matrix_bytes(matrix);
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
      if (from_file) read_ahead(in, size);
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
      if (from_file) drop(from.row(first), size);
    });
  }

  // The whole pages of a stretch of a mapped file.
  static std::span<std::byte> pages(const std::byte* at, size_t size, bool around) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), last = page - 1;
    const auto first = reinterpret_cast<uintptr_t>(at), end = first + size;
    const uintptr_t from = (around ? first : first + last) / page * page;
    const uintptr_t to = (around ? end + last : end) / page * page;
    return {reinterpret_cast<std::byte*>(from), to > from ? to - from : 0};
  }
  static void read_ahead(const std::byte* at, size_t size) {
    const auto part = pages(at, size, true);
#ifdef MADV_POPULATE_READ
    if (madvise(part.data(), part.size(), MADV_POPULATE_READ) == 0) return;
#endif
    madvise(part.data(), part.size(), MADV_WILLNEED);
  }
  static void drop(const std::byte* at, size_t size) {
    const auto part = pages(at, size, false);
    if (!part.empty()) madvise(part.data(), part.size(), MADV_DONTNEED);
  }

  Model& model_;
  const Backend& backend_;
  ThreadTeam team_;
  std::function<void(uint64_t, uint64_t)> progress_;
  std::shared_ptr<HugePages> pages_;
  std::map<const std::byte*, Matrix> moved_;  // by where they lay
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

void make_resident(Model& model, const Backend& backend,
                   const std::function<void(uint64_t done, uint64_t total)>& progress) {
  Mover(model, backend, progress).run();
}

}  // namespace ostro
