#include "base/threads.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace ostro {
namespace {

// How many times a waiting thread looks before it sleeps: a phase of a decode step is far shorter than this, a pause
// between two requests far longer.
constexpr int kSpins = 20000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// One phase: the caller publishes body and task count, raises `phase`; each thread takes the tasks of its own share in
// order, so that neighbours in memory are read one after the other, then what is left of the others' shares; the last
// thread to leave is seen through `left`.
struct ThreadTeam::Shared {
  explicit Shared(int size) : shares(static_cast<size_t>(size)) {}

  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  std::atomic<uint64_t> phase{0};
  std::atomic<int> left{0};
  std::atomic<bool> stop{false};
  const std::function<void(int64_t, int)>* body = nullptr;
  std::vector<Share> shares;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void deal(int64_t tasks) {
    const auto size = static_cast<int64_t>(shares.size());
    for (int64_t i = 0; i < size; ++i) {
      shares[static_cast<size_t>(i)].next.store(tasks * i / size, std::memory_order_relaxed);
      shares[static_cast<size_t>(i)].end = tasks * (i + 1) / size;
    }
  }

  void take_tasks(int thread) {
    for (size_t i = 0; i < shares.size(); ++i) {
      Share& share = shares[(static_cast<size_t>(thread) + i) % shares.size()];
      for (int64_t task; (task = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
        (*body)(task, thread);
      }
    }
  }

  void serve(int thread) {
    uint64_t seen = 0;
    while (true) {
      int spins = 0;
      while (phase.load(std::memory_order_acquire) == seen) {
        if (++spins < kSpins) {
          relax();
          continue;
        }
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return phase.load(std::memory_order_acquire) != seen; });
      }
      ++seen;
      if (stop.load(std::memory_order_acquire)) return;
      take_tasks(thread);
      left.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  void raise_phase() {
    {
      const std::lock_guard lock(mutex);
      phase.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
  }
};

ThreadTeam::ThreadTeam(int threads) : size_(threads) {
  CHECK(threads >= 1);
  shared_ = std::make_unique<Shared>(threads);
  for (int thread = 1; thread < threads; ++thread) {
    shared_->threads.emplace_back([shared = shared_.get(), thread] { shared->serve(thread); });
  }
}

ThreadTeam::~ThreadTeam() {
  shared_->stop.store(true, std::memory_order_release);
  shared_->raise_phase();
  for (auto& thread : shared_->threads) thread.join();
}

void ThreadTeam::run(int64_t tasks, const std::function<void(int64_t, int)>& body) {
  if (size_ == 1 || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  Shared& shared = *shared_;
  shared.body = &body;
  shared.deal(tasks);
  shared.left.store(size_ - 1, std::memory_order_relaxed);
  shared.raise_phase();
  shared.take_tasks(0);
  while (shared.left.load(std::memory_order_acquire) != 0) relax();
}

int default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  // Hyperthreads share a core: count each set of siblings once.
  std::set<std::string> cores;
  int usable = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    ++usable;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (std::getline(file, siblings)) cores.insert(siblings);
  }
  const int physical = static_cast<int>(cores.size());
  return physical > 0 ? physical : (usable > 0 ? usable : 1);
}

}  // namespace ostro
