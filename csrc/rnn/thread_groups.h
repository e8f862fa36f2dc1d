// How the threads share a recurrence: the rows of the batch are split among thread groups, which
// never wait for each other, and the hidden units among the threads of a group, its ranks, which
// synchronise after every step.
#pragma once

#include <ATen/Parallel.h>

#include <atomic>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../common/parallel.h"

namespace pyneural::rnn {

// A barrier of all threads of a call; a thread that does the work of several arrives for all of
// them.
class Barrier {
 public:
  explicit Barrier(int64_t threads) : threads_(threads) {}

  void wait(int64_t count) {
    if (count == threads_) return;
    const int64_t phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(count, std::memory_order_acq_rel) + count == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int64_t spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
      if (spins > kMaxSpins) std::this_thread::yield();  // another thread needs this core
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
  }

 private:
  static constexpr int64_t kMaxSpins = 1 << 12;
  const int64_t threads_;
  alignas(64) std::atomic<int64_t> arrived_{0};
  alignas(64) std::atomic<int64_t> phase_{0};
};

// The rows and the unit blocks of one thread.
struct ThreadPart {
  int64_t first_row, last_row, first_unit_block, last_unit_block;
  int64_t rows() const { return last_row - first_row; }
};

struct ThreadGroups {
  int64_t count = 1, size = 1;        // groups, and ranks of each
  int64_t rows = 0, unit_blocks = 0;  // to be shared, in all

  int64_t threads() const { return count * size; }
  int64_t max_rows() const { return (rows + count - 1) / count; }
  int64_t max_unit_blocks() const { return (unit_blocks + size - 1) / size; }
  ThreadPart part(int64_t thread) const {
    const int64_t group = thread / size, rank = thread % size;
    return {group * rows / count, (group + 1) * rows / count, rank * unit_blocks / size,
            (rank + 1) * unit_blocks / size};
  }
};

// The cheapest split of a step. A thread reads its units' weights once a step and multiplies them
// with its rows, a register tile at a time; the ranks of a group wait for each other.
inline ThreadGroups make_thread_groups(int64_t rows, int64_t unit_blocks,
                                       double weights_of_unit_block, int64_t threads) {
  // In multiply-adds of the same duration: to read a weight from beyond the cache, to pass a
  // barrier.
  constexpr double kRead = 12, kBarrier = 1 << 17;
  constexpr double kCached = 1 << 17;  // weights
  ThreadGroups best{1, 1, rows, unit_blocks};
  double least = 0;
  for (int64_t count = 1; count <= std::min(rows, threads); ++count) {
    int64_t max_size = std::min<int64_t>(unit_blocks, threads / count);
#if !AT_PARALLEL_OPENMP
    max_size = 1;  // the ranks have to run at the same time
#endif
    if (at::in_parallel_region()) max_size = 1;
    for (const int64_t size : {int64_t{1}, max_size}) {
      const ThreadGroups split{count, size, rows, unit_blocks};
      const double weights = weights_of_unit_block * static_cast<double>(split.max_unit_blocks());
      const double cost = std::max(weights * static_cast<double>(split.max_rows()),
                                   weights > kCached ? weights * kRead : 0) +
                          (size > 1 ? kBarrier : 0);
      if (least == 0 || cost < least) {
        least = cost;
        best = split;
      }
    }
  }
  return best;
}

// run_steps(first, last, sync) for ranges of threads that together are all and run at the same
// time; sync() is their barrier after a step.
using Sync = c10::function_ref<void()>;
inline void run_thread_groups(const ThreadGroups& groups,
                              c10::function_ref<void(int64_t, int64_t, Sync)> run_steps) {
  Barrier barrier(groups.threads());
  const auto run = [&](int64_t first, int64_t last) {
    if (groups.size > 1) return run_steps(first, last, [&] { barrier.wait(last - first); });
    for (int64_t i = first; i < last; ++i) run_steps(i, i + 1, [] {});
  };
  if (groups.threads() == 1) return run(0, 1);
  at::parallel_for(0, groups.threads(), 1, run);
}

}  // namespace pyneural::rnn
