#include "kernels/cpu/select.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"

namespace ostro {

extern const KernelTable kernels_portable, kernels_avx2, kernels_avx512, kernels_avx512_bf16, kernels_amx,
    kernels_amx_soft;

namespace {

// The kernel must let a process use the tile registers before its first tile instruction (Linux 5.16).
bool request_amx() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool bf16 = (d >> 22) & 1, tile = (d >> 24) & 1, int8 = (d >> 25) & 1;
  return bf16 && tile && int8 && request_amx();
}

// Some tables have only products: the rest is that of the set below.
KernelTable completed(const KernelTable& products, const KernelTable& below) {
  KernelTable table = below;
  table.name = products.name;
  if (products.matmul_int8 != nullptr) table.matmul_int8 = products.matmul_int8;
  table.matmul_bf16 = products.matmul_bf16;
  return table;
}

std::vector<InstructionSet> list() {
  static const KernelTable avx512_bf16 = completed(kernels_avx512_bf16, kernels_avx512);
  static const KernelTable amx = completed(kernels_amx, kernels_avx512);
  static const KernelTable amx_soft = completed(kernels_amx_soft, kernels_portable);
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
  return {
      {"amx", "AMX (int8, BF16) over AVX-512", &amx, avx512 && has_amx(), true},
      {"avx512-bf16", "AVX-512 with VNNI and BF16", &avx512_bf16, avx512 && __builtin_cpu_supports("avx512bf16"), true},
      {"avx512", "AVX-512 with VNNI", &kernels_avx512, avx512, true},
      {"avx2", "AVX2 with FMA and F16C", &kernels_avx2, avx2, true},
      {"portable", "plain C++", &kernels_portable, true, true},
      {"amx-soft", "the AMX kernels over tiles in plain C++ (for tests)", &amx_soft, true, false},
  };
}

}  // namespace

const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> sets = list();
  return sets;
}

const InstructionSet& select_instruction_set() {
  const char* wanted = std::getenv("OSTRO_ISA");
  std::string names;
  for (const InstructionSet& set : instruction_sets()) {
    const bool usable = set.available && (wanted != nullptr ? set.name == wanted : set.automatic);
    if (usable) return set;
    if (set.available) names += (names.empty() ? "" : ", ") + set.name;
  }
  throw_error(ErrorKind::Usage, "OSTRO_ISA={}: this machine has {}", wanted, names);
}

}  // namespace ostro
