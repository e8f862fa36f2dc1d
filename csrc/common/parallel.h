// Work split over threads: contiguous chunks, and no more threads than there is work for.
#pragma once

#include <ATen/Parallel.h>
#include <c10/util/FunctionRef.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

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

// body(task) for each of `tasks`, in about their order, each taken by the next thread that is free.
inline void parallel_tasks(int64_t tasks, int64_t threads, c10::function_ref<void(int64_t)> body) {
  std::atomic<int64_t> next{0};
  threads = std::min(threads, tasks);
  parallel_chunks(threads, threads, [&](int64_t, int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) body(task);
  });
}

}  // namespace pyneural
