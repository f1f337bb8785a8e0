// One product, one attention, one norm at a time, on the best instruction set of this machine or the one OSTRO_ISA
// names: what each kernel reaches without the rest of a model around it.
//
//   cmake --build --preset release --target ostro_kernel_bench && build/release/bench/ostro_kernel_bench
//
// product/ has weights larger than any cache and two threads, and shows what memory allows; cached/ has weights that
// stay in the cache and one thread, is timed by the processor's own clock, and shows what the arithmetic does. Both
// have them interleaved where that is read, as loading leaves them; mapped/ is product/ with rows as files have them.
// bytes_per_second counts weights, items_per_second multiplications and additions.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/pages.h"
#include "base/random.h"
#include "tensor/dtype.h"
#include "tensor/interleave.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

constexpr int64_t kInputs = 4096;

std::vector<float> normals(int64_t count) {
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(random_normal(1, 1, i));
  return out;
}

using Memory = std::shared_ptr<std::byte>;  // in huge pages, as weights are that were loaded

// One quantised row, repeated: what is multiplied costs the same whatever the values.
Memory make_weight(DType type, int64_t rows, int64_t cols) {
  const auto bytes = static_cast<size_t>(row_bytes(type, cols));
  std::vector<std::byte> row(bytes);
  Memory out = allocate_huge_pages(bytes * static_cast<size_t>(rows));
  if (can_quantize(type)) {
    quantize_row(type, normals(cols), row.data());
  } else {
    for (size_t i = 0; i < bytes; ++i) row[i] = static_cast<std::byte>(i % 31);
  }
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) std::memcpy(out.get() + r * bytes, row.data(), bytes);
  return out;
}

void product(benchmark::State& state, DType type, int64_t outputs, int64_t rows, int threads, bool repacked) {
  const auto backend = make_cpu_backend({threads, Compute::Auto});
  Memory weight = make_weight(type, outputs, kInputs);
  const int64_t bytes = row_bytes(type, kInputs);
  const bool interleaved = repacked && backend->reads_interleaved(type) && can_interleave(type, kInputs);
  if (interleaved) {
    std::vector<std::byte> group(static_cast<size_t>(kInterleavedRows * bytes));
    for (int64_t row = 0; row < outputs; row += kInterleavedRows) {
      std::memcpy(group.data(), weight.get() + row * bytes, group.size());
      interleave_rows(weight.get() + row * bytes, group.data(), type, bytes);
    }
  }
  std::vector<float> in = normals(rows * kInputs), out(static_cast<size_t>(rows * outputs));
  Matrix matrix{weight.get(), type, outputs, kInputs, bytes};
  matrix.interleaved = interleaved;
  for (auto _ : state) {
    backend->linear(std::array{Product{matrix, Rows{out.data(), rows, outputs}}}, Rows{in.data(), rows, kInputs});
  }
  state.SetBytesProcessed(state.iterations() * outputs * bytes);
  state.SetItemsProcessed(state.iterations() * 2 * rows * outputs * kInputs);
}

// `rows` queries at the end of `positions` cached ones: 32 heads of 128, 8 KV heads.
void attention(benchmark::State& state, DType type, int64_t rows, int64_t positions) {
  constexpr int64_t kHeads = 32, kKvHeads = 8, kDim = 128;
  const auto backend = make_cpu_backend({2, Compute::Auto});
  const std::vector<float> queries = normals(rows * kHeads * kDim);
  std::vector<float> out(queries.size());
  const int64_t bytes = row_bytes(type, kDim);
  const auto cache = make_weight(type, 2 * kKvHeads * positions, kDim);
  const KvRun run{cache.get(), cache.get() + kKvHeads * positions * bytes, 0, positions};
  AttendShape shape;
  shape.query_heads = kHeads;
  shape.kv_heads = kKvHeads;
  shape.key_dim = shape.value_dim = kDim;
  shape.scale = 0.088f;
  shape.key_type = shape.value_type = type;
  shape.key_row_bytes = shape.value_row_bytes = bytes;
  shape.key_head_bytes = shape.value_head_bytes = positions * bytes;
  const AttendJob job{0, rows, positions - rows, std::span(&run, 1)};
  const int64_t width = kHeads * kDim;
  auto* data = const_cast<float*>(queries.data());
  for (auto _ : state) {
    backend->attend(Rows{out.data(), rows, width}, Rows{data, rows, width}, shape, std::span(&job, 1));
  }
  state.SetBytesProcessed(state.iterations() * 2 * kKvHeads * positions * bytes);
  state.SetItemsProcessed(state.iterations() * 4 * rows * positions * width);
}

void norm(benchmark::State& state, int64_t rows) {
  const auto backend = make_cpu_backend({2, Compute::Auto});
  std::vector<float> in = normals(rows * kInputs), out(in.size()), weight = normals(kInputs);
  for (auto _ : state) {
    backend->normalize(Rows{out.data(), rows, kInputs}, Rows{in.data(), rows, kInputs}, weight, NormKind::Rms, 1e-5f);
  }
  state.SetItemsProcessed(state.iterations() * rows * kInputs);
}

void register_all() {
  for (int t = 0; t < kDTypes; ++t) {
    const auto type = static_cast<DType>(t);
    for (const int64_t rows : {1, 2, 4, 8, 16, 128}) {
      const std::string name = std::string(info(type).name) + "/" + std::to_string(rows);
      // 256 MB of 4-bit weights: the cache of a server holds an expert.
      for (const bool repacked : {true, false}) {
        benchmark::RegisterBenchmark(((repacked ? "product/" : "mapped/") + name).c_str(), product, type, 114688, rows,
                                     2, repacked)
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      }
      benchmark::RegisterBenchmark(("cached/" + name).c_str(), product, type, 128, rows, 1, true)
          ->Unit(benchmark::kMillisecond);
    }
  }
  for (const DType type : {DType::F16, DType::Q8_0}) {
    for (const int64_t rows : {1, 64}) {
      for (const int64_t positions : {512, 8192}) {
        const std::string name =
            "attention/" + std::string(info(type).name) + "/" + std::to_string(rows) + "/" + std::to_string(positions);
        benchmark::RegisterBenchmark(name.c_str(), attention, type, rows, positions)
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  benchmark::RegisterBenchmark("norm/512", norm, 512)->UseRealTime()->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace ostro

int main(int argc, char** argv) {
  ostro::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
