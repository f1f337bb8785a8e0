// A fixed team of threads for short parallel phases. Work is handed out by task index; which thread runs which task
// must never change a result.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace ostro {

class ThreadTeam {
 public:
  // `threads` >= 1, the caller counts as one of them.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // Runs body(task, thread) for every task in [0, tasks), thread in [0, size()), and returns when all are done.
  // Not reentrant. `body` must not throw.
  void run(int64_t tasks, const std::function<void(int64_t task, int thread)>& body);

 private:
  struct Shared;
  int size_;
  std::unique_ptr<Shared> shared_;
};

// The number of physical cores this process may use (at least 1): the default of -t.
int default_threads();

}  // namespace ostro
