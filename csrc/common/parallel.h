// Work split over threads: contiguous chunks or tasks, and no more threads than there is work for.
#pragma once

#include <ATen/Parallel.h>
#include <c10/util/FunctionRef.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

namespace pyneural {

// A thread for every 2^18 multiply-adds at the least: waking one for less gains nothing, and on a
// busy machine costs far more than it would do.
inline int64_t useful_threads(double multiply_adds) {
  constexpr double kWorthAThread = 1 << 18;
  const double available = at::get_num_threads();
  return static_cast<int64_t>(std::clamp(multiply_adds / kWorthAThread, 1.0, available));
}

// body(chunk, begin, end) for `chunks` nearly equal parts of [0, size), each on a thread. One
// function for all bodies, which are compiled once then and not for each way to run them.
[[gnu::noinline]] inline void parallel_chunks(
    int64_t size, int64_t chunks, c10::function_ref<void(int64_t, int64_t, int64_t)> body) {
  if (chunks <= 1) return body(0, 0, size);
  at::parallel_for(0, chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t c = first; c < last; ++c) body(c, c * size / chunks, (c + 1) * size / chunks);
  });
}

// Tasks in their order, each for the next thread that is free.
class Tasks {
 public:
  explicit Tasks(int64_t count) : count_(count) {}

  // None where all are taken.
  std::optional<int64_t> take() {
    const int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
    return task < count_ ? std::optional(task) : std::nullopt;
  }

 private:
  int64_t count_;
  std::atomic<int64_t> next_{0};
};

// body(thread, tasks) on up to so many threads, which take from the same `count` tasks.
inline void parallel_takers(int64_t count, int64_t threads,
                            c10::function_ref<void(int64_t, Tasks&)> body) {
  Tasks tasks(count);
  threads = std::min(threads, count);
  parallel_chunks(threads, threads, [&](int64_t thread, int64_t, int64_t) { body(thread, tasks); });
}

// body(task) for each of `count` tasks, in about their order.
inline void parallel_tasks(int64_t count, int64_t threads, c10::function_ref<void(int64_t)> body) {
  parallel_takers(count, threads, [&](int64_t, Tasks& tasks) {
    while (const auto task = tasks.take()) body(*task);
  });
}

}  // namespace pyneural
