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

// One phase: the caller deals the tasks into shares, raises `phase` and works along; a phase is over when all its tasks
// are done, whoever did them: a worker that has not woken by then is not waited for. Each thread takes the tasks of its
// own share in order, so that neighbours in memory are read one after the other, then what is left of the others'.
//
// A worker may still look at the shares of a phase that is over. A share therefore carries its phase beside its next
// task in one word: a task is only ever claimed in the phase whose body the worker has read.
struct ThreadTeam::Shared {
  explicit Shared(int size) : shares(static_cast<size_t>(size)) {}

  static constexpr int kTaskBits = 40;
  static constexpr uint64_t kTaskMask = (uint64_t{1} << kTaskBits) - 1;

  struct alignas(64) Share {
    std::atomic<uint64_t> next{0};  // phase << kTaskBits | task
    std::atomic<uint64_t> end{0};
  };

  std::atomic<uint64_t> phase{0};
  std::atomic<int64_t> done{0};
  std::atomic<bool> stop{false};
  std::atomic<const std::function<void(int64_t, int)>*> body{nullptr};
  std::vector<Share> shares;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> threads;

  void deal(uint64_t next_phase, int64_t tasks) {
    const auto size = static_cast<int64_t>(shares.size());
    for (int64_t i = 0; i < size; ++i) {
      Share& share = shares[static_cast<size_t>(i)];
      // The tag first: a late worker that sees the new end must fail to claim under the old tag.
      share.next.store(next_phase << kTaskBits | static_cast<uint64_t>(tasks * i / size), std::memory_order_release);
      share.end.store(static_cast<uint64_t>(tasks * (i + 1) / size), std::memory_order_release);
    }
  }

  // A task of `share` in phase `current`, or -1 where there is none left.
  static int64_t claim(Share& share, uint64_t current) {
    uint64_t next = share.next.load(std::memory_order_acquire);
    while (next >> kTaskBits == (current & (~uint64_t{0} >> kTaskBits)) &&
           (next & kTaskMask) < share.end.load(std::memory_order_acquire)) {
      if (share.next.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        return static_cast<int64_t>(next & kTaskMask);
      }
    }
    return -1;
  }

  void take_tasks(uint64_t current, int thread) {
    const auto* run = body.load(std::memory_order_acquire);
    int64_t finished = 0;
    for (size_t i = 0; i < shares.size(); ++i) {
      Share& share = shares[(static_cast<size_t>(thread) + i) % shares.size()];
      for (int64_t task; (task = claim(share, current)) >= 0; ++finished) (*run)(task, thread);
    }
    if (finished > 0) done.fetch_add(finished, std::memory_order_acq_rel);
  }

  void serve(int thread) {
    uint64_t seen = 0;
    while (true) {
      int spins = 0;
      uint64_t current;
      while ((current = phase.load(std::memory_order_acquire)) == seen) {
        if (++spins < kSpins) {
          relax();
          continue;
        }
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return phase.load(std::memory_order_acquire) != seen; });
      }
      seen = current;
      if (stop.load(std::memory_order_acquire)) return;
      take_tasks(current, thread);
    }
  }

  uint64_t raise_phase() {
    uint64_t raised;
    {
      const std::lock_guard lock(mutex);
      raised = phase.fetch_add(1, std::memory_order_release) + 1;
    }
    wake.notify_all();
    return raised;
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
  shared.body.store(&body, std::memory_order_release);
  shared.done.store(0, std::memory_order_relaxed);
  shared.deal(shared.phase.load(std::memory_order_relaxed) + 1, tasks);
  shared.take_tasks(shared.raise_phase(), 0);
  while (shared.done.load(std::memory_order_acquire) != tasks) relax();
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
