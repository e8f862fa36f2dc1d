// How a launch of the recurrence is divided among thread blocks: by counts.
#pragma once

#include "../common/cluster.cuh"
#include "../common/launch.cuh"
#include "rnn_cuda.h"

namespace pyneural::rnn {

constexpr int kThreads = 256;
constexpr int kThreadColumns = 4;
constexpr int kChunk = 128;  // of the k that are in shared memory at a time, where not all are

struct Recurrence {
  bool is_forward;
  int gates;
  int64_t rows, hidden;
  int element_bytes;
};

// Clock cycles of a step. A multiprocessor does 128 multiply-adds of float and reads 128 bytes of
// shared memory in one; of the second-level cache, a share of 32. Those of a barrier are guesses
// from published latencies: one way to the shared memory of another block takes 200, an atomic
// operation in the second-level cache 700, and waiting for the last block is several of these.
struct Cycles {
  static constexpr int64_t kMultiplyAdds = 128, kSharedBytes = 128, kGlobalBytes = 32;
  static constexpr int64_t kClusterBarrier = 500, kGridBarrier = 2500;

  static int64_t of_step(const Division& d, int bytes) {
    const int64_t weights = int64_t{d.depth} * d.columns;
    const int64_t padded = int64_t{d.tiles} * d.tile_rows;
    const int64_t products = weights * padded * (bytes / 4) / kMultiplyAdds;
    // A block's row tiles read the same weights, of global memory from its first-level cache.
    const int64_t reads = weights * (padded / d.thread_rows) * bytes / kSharedBytes;
    const int64_t fetches = d.shared_weights ? 0 : weights * d.tiles * bytes / kGlobalBytes;
    const int64_t loads = reads > fetches ? reads : fetches;
    const int64_t copies = d.shared_exchange ? 0 : d.depth * padded * bytes / kGlobalBytes;
    const int64_t barrier = d.group_size == 1 ? 0 : d.in_clusters ? kClusterBarrier : kGridBarrier;
    return (products > loads ? products : loads) + copies + barrier;
  }
};

// Fills in what follows from groups, group_size and where things lie.
inline void complete(const Recurrence& recurrence, Division* division) {
  Division& d = *division;
  const auto to_multiple = [](int64_t value, int64_t of) { return tiles_of(value, of) * of; };
  const auto at_least_1 = [](int64_t value) { return static_cast<int32_t>(value > 1 ? value : 1); };
  d.is_forward = recurrence.is_forward;
  d.gates = recurrence.is_forward ? recurrence.gates : 1;
  d.rows = static_cast<int32_t>(tiles_of(recurrence.rows, d.groups));
  d.units = static_cast<int32_t>(tiles_of(recurrence.hidden, d.group_size));
  d.depth = static_cast<int32_t>(recurrence.is_forward ? recurrence.hidden
                                                       : recurrence.gates * recurrence.hidden);
  d.columns = static_cast<int32_t>(to_multiple(d.gates * d.units, kThreadColumns));
  d.thread_rows = d.rows > 4 ? 8 : 4;
  const int64_t across = d.columns / kThreadColumns, row_tiles = tiles_of(d.rows, d.thread_rows);
  const int32_t at_a_time = at_least_1(kThreads / across);
  d.tiles = static_cast<int32_t>(tiles_of(row_tiles, at_a_time));
  d.tile_rows = static_cast<int32_t>(tiles_of(row_tiles, d.tiles)) * d.thread_rows;
  // A slice is long enough to pay for adding it up.
  constexpr int kShortestSlice = 16;
  const int32_t spare = at_least_1(kThreads / (across * (d.tile_rows / d.thread_rows)));
  const int32_t most = at_least_1((d.shared_exchange ? d.depth : kChunk) / kShortestSlice);
  d.slices = spare < most ? spare : most;
  // Odd multiples of 16 bytes and a multiple of 128 plus 32: the 8 units of 4 rows that a warp
  // writes and reads at a time lie in 32 banks.
  d.value_stride = d.tile_rows + (d.tile_rows / 4 % 2 == 0 ? 4 : 0);
  const int line = 128 / recurrence.element_bytes;
  d.sum_stride = static_cast<int32_t>(to_multiple(d.columns, line) + line / 4);
  d.exchange_elements =
      d.shared_exchange ? 0 : int64_t{2} * d.groups_at_once * d.tiles * d.depth * d.value_stride;
}

inline int64_t shared_elements(const Division& d) {
  const int64_t weights = d.shared_weights ? int64_t{d.depth} * d.columns : 0;
  const int64_t sums = int64_t{d.slices} * d.tile_rows * d.sum_stride;
  const int64_t owned = int64_t{2} * d.tiles * d.tile_rows * d.units;
  const int64_t ks = d.shared_exchange ? int64_t{d.tiles} * d.depth : kChunk;
  return weights + sums + owned + 2 * ks * d.value_stride;
}

// Whether there is a division; then it is the one of the fewest cycles. clusters_at_once(size) says
// how many clusters whose blocks have a multiprocessor each run at a time.
template <class ClustersAtOnce>
bool divide(const Recurrence& recurrence, const DeviceLimits& device,
            const ClustersAtOnce& clusters_at_once, Division* division) {
  constexpr int64_t kFewestRows = 4;  // of a group: a thread's tile has no fewer
  int64_t best = -1;
  const auto consider = [&](int64_t size, bool shared_exchange, bool shared_weights) {
    if (size > recurrence.hidden || size > device.multiprocessors) return;
    Division d;
    d.group_size = static_cast<int32_t>(size);
    d.in_clusters = shared_exchange && size > 1;
    const int64_t at_once = d.in_clusters ? clusters_at_once(size) : device.multiprocessors / size;
    if (at_once < 1) return;
    d.shared_exchange = shared_exchange;
    d.shared_weights = shared_weights;
    // Fewer rows a group, and the groups after one another, until a block's part fits.
    for (int64_t rows = tiles_of(recurrence.rows, at_once);; rows = tiles_of(rows, 2)) {
      if (rows < kFewestRows) rows = kFewestRows;
      d.groups = static_cast<int32_t>(tiles_of(recurrence.rows, rows));
      d.groups_at_once = static_cast<int32_t>(at_once < d.groups ? at_once : d.groups);
      complete(recurrence, &d);
      const auto fits = [&] {
        d.shared_elements = shared_elements(d);
        return d.shared_elements * recurrence.element_bytes <= device.shared_bytes;
      };
      while (!fits() && d.slices > 1) d.slices /= 2;
      if (fits()) break;
      if (rows == kFewestRows) return;
    }
    const int64_t cycles =
        tiles_of(d.groups, d.groups_at_once) * Cycles::of_step(d, recurrence.element_bytes);
    if (best >= 0 && cycles >= best) return;
    best = cycles;
    if (d.in_clusters) d.groups_at_once = d.groups;  // those that must wait need no launch
    *division = d;
  };
  for (int64_t size = 1; size <= kMaxClusterSize; size *= 2) consider(size, true, true);
  for (int64_t size = device.multiprocessors; size > 1; size /= 2)
    for (const bool shared_weights : {true, false})
      consider(size < recurrence.hidden ? size : recurrence.hidden, false, shared_weights);
  if (best < 0) consider(1, false, false);
  return best >= 0;
}

}  // namespace pyneural::rnn
