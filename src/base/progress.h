// A progress bar with rate and time left, drawn on stderr only when that is a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ostro {

class Progress {
 public:
  // `unit` is "B" (bytes, shown as MB) or a plural noun such as "tokens". `total` may be 0 (unknown).
  Progress(std::string label, uint64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(uint64_t amount) { set(done_ + amount); }
  void set(uint64_t done);

 private:
  void draw();

  std::string label_, unit_;
  uint64_t total_, done_ = 0;
  bool visible_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace ostro
