#include "cli/probe.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/pages.h"
#include "base/threads.h"
#include "kernels/cpu/select.h"

namespace ostro {
namespace {

constexpr size_t kBytes = size_t{512} << 20;
constexpr size_t kPiece = size_t{1} << 20;
constexpr int kPasses = 5;

// Eight sums, so that additions do not wait for each other.
uint64_t sum_of(const uint64_t* words, size_t count) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < count; i += 8)
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += words[i + lane];
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Loops of products whose sums stay in registers. Written as assembly: the count of instructions is what is measured,
// in any build, and a build for plain x86-64 has them all. Every sum is a register of its own, so that no product waits
// for another.
#define OSTRO_TWELVE(step)                                                                                       \
  step("0") step("1") step("2") step("3") step("4") step("5") step("6") step("7") step("8") step("9") step("10") \
      step("11")
#define OSTRO_LOOP(name, before, body, after)                                                                         \
  void name(int64_t turns) {                                                                                          \
    __asm__ volatile(before "1:\n" body "dec %0\njnz 1b\n" after                                                      \
                     : "+r"(turns)                                                                                    \
                     :                                                                                                \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                                                  \
  }
#define OSTRO_VNNI(i) "vpdpbusd %%zmm12, %%zmm13, %%zmm" i "\n"
#define OSTRO_WIDE_FMA(i) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" i "\n"
#define OSTRO_BF16(i) "vdpbf16ps %%zmm12, %%zmm13, %%zmm" i "\n"
#define OSTRO_BYTE_PAIRS(i) \
  "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\nvpmaddwd %%ymm15, %%ymm14, %%ymm14\nvpaddd %%ymm14, %%ymm" i ", %%ymm" i "\n"
#define OSTRO_FMA(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" i "\n"
#define OSTRO_CLEAR(i) "xorps %%xmm" i ", %%xmm" i "\n"
#define OSTRO_WORD_PAIRS(i) "movdqa %%xmm12, %%xmm14\npmaddwd %%xmm13, %%xmm14\npaddd %%xmm14, %%xmm" i "\n"
#define OSTRO_MULTIPLY_ADD(i) "movaps %%xmm12, %%xmm14\nmulps %%xmm13, %%xmm14\naddps %%xmm14, %%xmm" i "\n"

OSTRO_LOOP(loop_vnni, "vzeroall\n", OSTRO_TWELVE(OSTRO_VNNI), "vzeroupper\n")
OSTRO_LOOP(loop_bf16, "vzeroall\n", OSTRO_TWELVE(OSTRO_BF16), "vzeroupper\n")
OSTRO_LOOP(loop_wide_fma, "vzeroall\n", OSTRO_TWELVE(OSTRO_WIDE_FMA), "vzeroupper\n")
OSTRO_LOOP(loop_byte_pairs, "vzeroall\n", OSTRO_TWELVE(OSTRO_BYTE_PAIRS), "vzeroupper\n")
OSTRO_LOOP(loop_fma, "vzeroall\n", OSTRO_TWELVE(OSTRO_FMA), "vzeroupper\n")
OSTRO_LOOP(loop_word_pairs, OSTRO_TWELVE(OSTRO_CLEAR), OSTRO_TWELVE(OSTRO_WORD_PAIRS), "")
OSTRO_LOOP(loop_multiply_add, OSTRO_TWELVE(OSTRO_CLEAR) OSTRO_CLEAR("12") OSTRO_CLEAR("13"),
           OSTRO_TWELVE(OSTRO_MULTIPLY_ADD), "")

// Six sums over tiles of 16 rows of 64 bytes.
struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
#define OSTRO_SIX(step) step("0") step("1") step("2") step("3") step("4") step("5")
#define OSTRO_TILE_CLEAR(i) "tilezero %%tmm" i "\n"
#define OSTRO_TILE_BYTES(i) "tdpbusd %%tmm7, %%tmm6, %%tmm" i "\n"
#define OSTRO_TILE_BF16(i) "tdpbf16ps %%tmm7, %%tmm6, %%tmm" i "\n"
#define OSTRO_TILE_LOOP(name, body)                                                        \
  void name(int64_t turns) {                                                               \
    alignas(64) const TileConfig config;                                                   \
    __asm__ volatile("ldtilecfg %1\n" OSTRO_SIX(OSTRO_TILE_CLEAR) OSTRO_TILE_CLEAR("6")    \
                         OSTRO_TILE_CLEAR("7") "1:\n" body "dec %0\njnz 1b\ntilerelease\n" \
                     : "+r"(turns)                                                         \
                     : "m"(config)                                                         \
                     : "cc");                                                              \
  }
OSTRO_TILE_LOOP(loop_tile_bytes, OSTRO_SIX(OSTRO_TILE_BYTES))
OSTRO_TILE_LOOP(loop_tile_bf16, OSTRO_SIX(OSTRO_TILE_BF16))

struct Loop {
  Arithmetic arithmetic;
  const char* set;  // the kernels' instruction set that a machine needs for it
  void (*run)(int64_t turns);
  double operations;  // a turn
};
// The widest first. bf16 on a machine without such products is float32 after widening.
constexpr Loop kLoops[] = {
    {Arithmetic::Int8, "amx", loop_tile_bytes, 6 * 2 * 16 * 16 * 64},
    {Arithmetic::Int8, "avx512", loop_vnni, 12 * 2 * 64},
    {Arithmetic::Int8, "avx2", loop_byte_pairs, 12 * 2 * 32},
    {Arithmetic::Int8, "portable", loop_word_pairs, 12 * 2 * 8},
    {Arithmetic::Bf16, "amx", loop_tile_bf16, 6 * 2 * 16 * 16 * 32},
    {Arithmetic::Bf16, "avx512-bf16", loop_bf16, 12 * 2 * 32},
    {Arithmetic::Float32, "avx512", loop_wide_fma, 12 * 2 * 16},
    {Arithmetic::Float32, "avx2", loop_fma, 12 * 2 * 8},
    {Arithmetic::Float32, "portable", loop_multiply_add, 12 * 2 * 4},
};

const Loop& widest_loop(Arithmetic arithmetic) {
  for (const Loop& loop : kLoops) {
    if (loop.arithmetic != arithmetic) continue;
    for (const InstructionSet& set : instruction_sets())
      if (set.available && set.name == loop.set) return loop;
  }
  CHECK(arithmetic == Arithmetic::Bf16);
  return widest_loop(Arithmetic::Float32);
}

}  // namespace

double peak_operations(Arithmetic arithmetic, int threads) {
  constexpr int64_t kTurns = 20000;  // a task: 0.1 to 1 ms
  constexpr double kSeconds = 0.05;
  const Loop& loop = widest_loop(arithmetic);
  const int64_t tasks = int64_t{8} * threads;
  ThreadTeam team(threads);
  double best = 0;
  for (const auto begin = std::chrono::steady_clock::now(); seconds_since(begin) < kSeconds || best == 0;) {
    const auto start = std::chrono::steady_clock::now();
    team.run(tasks, [&loop](int64_t, int) { loop.run(kTurns); });
    best = std::max(best, static_cast<double>(tasks * kTurns) * loop.operations / seconds_since(start));
  }
  return best;
}

double read_bandwidth(int threads) {
  const auto memory = allocate_huge_pages(kBytes);
  std::memset(memory.get(), 1, kBytes);
  const auto* words = reinterpret_cast<const uint64_t*>(memory.get());
  ThreadTeam team(threads);
  std::vector<uint64_t> sums(kBytes / kPiece);  // read afterwards, so that nothing is optimised away
  double best = 0;
  uint64_t check = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    team.run(static_cast<int64_t>(sums.size()), [&](int64_t piece, int) {
      const size_t at = static_cast<size_t>(piece);
      sums[at] = sum_of(words + at * (kPiece / sizeof(uint64_t)), kPiece / sizeof(uint64_t));
    });
    const double seconds = seconds_since(start);
    for (const uint64_t sum : sums) check += sum;
    best = std::max(best, static_cast<double>(kBytes) / seconds);
  }
  return check != 0 ? best : 0;
}

}  // namespace ostro
