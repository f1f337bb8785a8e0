#include "engine/memory.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>

namespace ostro {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// The number after `key` in a file of "key number" lines.
std::optional<uint64_t> number_after(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    uint64_t value = 0;
    if (word == key && file >> value) return value;
  }
  return std::nullopt;
}

std::optional<uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;  // "max" (no limit) is no number
  return std::nullopt;
}

// Room below the limit of the control group (version 2, then 1). File pages that can be dropped do not count as used.
uint64_t control_group_room() {
  struct Files {
    const char *limit, *used, *statistics, *file_key;
  };
  static constexpr Files kVersions[] = {
      {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "file"},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
       "/sys/fs/cgroup/memory/memory.stat", "total_cache"},
  };
  for (const auto& files : kVersions) {
    const auto limit = number_in(files.limit);
    const auto used = number_in(files.used);
    if (!limit || !used) continue;
    const uint64_t droppable = std::min(*used, number_after(files.statistics, files.file_key).value_or(0));
    const uint64_t held = *used - droppable;
    return *limit > held ? *limit - held : 0;
  }
  return kUnlimited;
}

}  // namespace

uint64_t available_memory() {
  const auto available = number_after("/proc/meminfo", "MemAvailable:");
  return std::min(available ? *available * 1024 : kUnlimited, control_group_room());
}

uint64_t peak_memory() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

std::string in_gigabytes(uint64_t bytes) {
  const double gigabytes = static_cast<double>(bytes) / 1e9;
  return gigabytes >= 0.1 ? fmt::format("{:.1f} GB", gigabytes) : fmt::format("{:.1f} MB", gigabytes * 1e3);
}

}  // namespace ostro
