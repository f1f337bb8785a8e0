#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace ostro {
namespace {

constexpr int kBarWidth = 28;
constexpr auto kRedraw = std::chrono::milliseconds(100);

std::string amount(double value, const std::string& unit) {
  if (unit != "B") return fmt::format("{:.0f} {}", value, unit);
  return value >= 1e9 ? fmt::format("{:.2f} GB", value / 1e9) : fmt::format("{:.1f} MB", value / 1e6);
}

}  // namespace

Progress::Progress(std::string label, uint64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      visible_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::set(uint64_t done) {
  done_ = done;
  if (!visible_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kRedraw) return;
  last_ = now;
  draw();
}

void Progress::draw() {
  const double seconds = std::chrono::duration<double>(last_ - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  std::string line = fmt::format("\r{} ", label_);
  if (total_ > 0) {
    const double share = static_cast<double>(done_) / static_cast<double>(total_);
    const int filled = static_cast<int>(share * kBarWidth);
    line += fmt::format("[{}{}] {:3.0f}% ", std::string(static_cast<size_t>(filled), '='),
                        std::string(static_cast<size_t>(kBarWidth - filled), ' '), share * 100);
  }
  line += fmt::format("{} ({}/s)", amount(static_cast<double>(done_), unit_), amount(rate, unit_));
  if (total_ > done_ && rate > 0) line += fmt::format(", {:.0f} s left", static_cast<double>(total_ - done_) / rate);
  std::fputs((line + "\x1b[K").c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

}  // namespace ostro
