// How a launch of the recurrence is divided among thread blocks: by counts.
#pragma once

#include "../common/cluster.cuh"
#include "../common/launch.cuh"
#include "rnn_cuda.h"

namespace pyneural::rnn {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kChunk = 128;  // of the k that are in shared memory at a time, where not all are

// The item of a product: 4 columns of 4 or 8 rows by a thread; of halves 32 columns of 8 to 32 rows
// by a warp, two and one to four of a tensor core's [16, 8] for 16 of the k.
constexpr int kThreadColumns = 4;
constexpr int kCoreColumns = 16, kCoreRows = 8, kCoreDepth = 16, kWarpColumns = 32,
              kMostCoreRows = 4;  // of an item, in kCoreRows

struct Recurrence {
  bool is_forward;
  int gates;
  int64_t rows, hidden;
  int element_bytes;

  bool in_halves() const { return element_bytes == 2; }
  int sum_bytes() const { return in_halves() ? 4 : element_bytes; }
  // Units that a thread computes together: a word of halves.
  int together() const { return in_halves() ? 2 : 1; }
  int64_t units_together() const { return tiles_of(hidden, together()); }
};

// Clock cycles of a step. A multiprocessor does 128 multiply-adds of float, by tensor cores 1,024
// of halves, and reads 128 bytes of shared memory in one; of the second-level cache, a share of 32.
// Those of a barrier are guesses from published latencies: one way to the shared memory of another
// block takes 200, an atomic operation in the second-level cache 700, and waiting for the last
// block is several of these.
struct Cycles {
  static constexpr int64_t kMultiplyAdds = 128, kOfHalves = 1024, kSharedBytes = 128,
                           kGlobalBytes = 32;
  static constexpr int64_t kClusterBarrier = 500, kGridBarrier = 2500;

  static int64_t of_step(const Division& d, const Recurrence& recurrence) {
    const int64_t bytes = recurrence.element_bytes, weights = int64_t{d.depth} * d.columns;
    const int64_t padded = int64_t{d.tiles} * d.tile_rows;
    const int64_t products = recurrence.in_halves()
                                 ? weights * padded / kOfHalves
                                 : weights * padded * (bytes / 4) / kMultiplyAdds;
    // Each item reads its weights, of global memory from the first-level cache. Its values are one
    // read for the threads of a warp; of halves each warp reads them.
    int64_t read = weights * (padded / d.item_rows);
    if (recurrence.in_halves()) read += d.depth * padded * tiles_of(d.columns, d.item_columns);
    const int64_t reads = read * bytes / kSharedBytes;
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
  const bool in_halves = recurrence.in_halves();
  const auto to_multiple = [](int64_t value, int64_t of) { return tiles_of(value, of) * of; };
  const auto at_least_1 = [](int64_t value) { return static_cast<int32_t>(value > 1 ? value : 1); };
  const auto narrow = [](int64_t value) { return static_cast<int32_t>(value); };
  d.is_forward = recurrence.is_forward;
  d.gates = recurrence.gates;
  d.rows = narrow(tiles_of(recurrence.rows, d.groups));
  d.units = narrow(tiles_of(recurrence.units_together(), d.group_size) * recurrence.together());
  d.gate_depth = narrow(recurrence.units_together() * recurrence.together());
  d.depth = narrow(
      to_multiple(int64_t{d.is_forward ? 1 : d.gates} * d.gate_depth, in_halves ? kCoreDepth : 1));
  d.columns = narrow(to_multiple(int64_t{d.is_forward ? d.gates : 1} * d.units,
                                 in_halves ? kCoreColumns : kThreadColumns));
  d.item_columns = in_halves ? kWarpColumns : kThreadColumns;
  if (in_halves) {
    const int64_t of_core = tiles_of(d.rows, kCoreRows);
    d.item_rows = narrow(tiles_of(of_core, tiles_of(of_core, kMostCoreRows)) * kCoreRows);
  } else {
    d.item_rows = d.rows > 4 ? 8 : 4;
  }
  const int64_t across = tiles_of(d.columns, d.item_columns),
                row_items = tiles_of(d.rows, d.item_rows);
  const int32_t workers = in_halves ? kWarps : kThreads, at_a_time = at_least_1(workers / across);
  d.tiles = narrow(tiles_of(row_items, at_a_time));
  d.tile_rows = narrow(tiles_of(row_items, d.tiles)) * d.item_rows;
  // A slice is long enough to pay for adding it up.
  const int32_t shortest_slice = in_halves ? 2 * kCoreDepth : 16;
  const int32_t spare = at_least_1(workers / (across * (d.tile_rows / d.item_rows)));
  const int32_t most = at_least_1((d.shared_exchange ? d.depth : kChunk) / shortest_slice);
  d.slices = spare < most ? spare : most;
  // Odd multiples of 16 bytes, so that the 8 units of 4 rows that a warp writes at a time lie in 32
  // banks; halves have an order of their own. And a multiple of 128 plus 32, so that the 8 sums, of
  // halves the 8 pairs of them, of 4 rows that a warp reads at a time do.
  d.value_stride = d.tile_rows + (!in_halves && d.tile_rows / 4 % 2 == 0 ? 4 : 0);
  const int line = 128 / recurrence.sum_bytes();
  d.sum_stride = narrow(to_multiple(d.columns, line) + line / 4);
  d.exchange_elements =
      d.shared_exchange ? 0 : int64_t{2} * d.groups_at_once * d.tiles * d.depth * d.value_stride;
  d.weight_elements = d.shared_weights ? 0 : int64_t{d.group_size} * d.depth * d.columns;
}

inline int64_t shared_bytes(const Division& d, const Recurrence& recurrence) {
  const int64_t weights = d.shared_weights ? int64_t{d.depth} * d.columns : 0;
  const int64_t sums = int64_t{d.slices} * d.tile_rows * d.sum_stride;
  const int64_t owned = int64_t{2} * d.tiles * d.tile_rows * d.units;
  const int64_t ks = d.shared_exchange ? int64_t{d.tiles} * d.depth : kChunk;
  return (weights + 2 * ks * d.value_stride) * recurrence.element_bytes +
         (sums + owned) * recurrence.sum_bytes();
}

// Of `size` blocks, those that are needed where each has as many units as fit its columns.
inline int64_t needed_blocks(const Recurrence& recurrence, int64_t size) {
  Division d;
  d.group_size = static_cast<int32_t>(size);
  complete(recurrence, &d);
  const int64_t units = d.columns / (d.is_forward ? d.gates : 1) / recurrence.together();
  return tiles_of(recurrence.units_together(), units);
}

// Whether there is a division; then it is the one of the fewest cycles. clusters_at_once(size) says
// how many clusters whose blocks have a multiprocessor each run at a time.
template <class ClustersAtOnce>
bool divide(const Recurrence& recurrence, const DeviceLimits& device,
            const ClustersAtOnce& clusters_at_once, Division* division) {
  // Of a group: an item has no fewer, and is padded to a multiple of them.
  const int64_t fewest_rows = recurrence.in_halves() ? kCoreRows : 4;
  int64_t best = -1;
  const auto consider = [&](int64_t size, bool shared_exchange, bool shared_weights) {
    if (size > recurrence.units_together() || size > device.multiprocessors) return;
    Division d;
    d.group_size = static_cast<int32_t>(size);
    d.in_clusters = shared_exchange && size > 1;
    const int64_t at_once = d.in_clusters ? clusters_at_once(size) : device.multiprocessors / size;
    if (at_once < 1) return;
    d.shared_exchange = shared_exchange;
    d.shared_weights = shared_weights;
    // Fewer rows a group, and the groups after one another, until a block's part fits.
    for (int64_t rows = tiles_of(recurrence.rows, at_once);; rows = tiles_of(rows, 2)) {
      rows = tiles_of(rows, fewest_rows) * fewest_rows;
      d.groups = static_cast<int32_t>(tiles_of(recurrence.rows, rows));
      d.groups_at_once = static_cast<int32_t>(at_once < d.groups ? at_once : d.groups);
      complete(recurrence, &d);
      const auto fits = [&] {
        d.shared_bytes = shared_bytes(d, recurrence);
        return d.shared_bytes <= device.shared_bytes;
      };
      while (!fits() && d.slices > 1) d.slices /= 2;
      if (fits()) break;
      if (rows == fewest_rows) return;
    }
    const int64_t cycles = tiles_of(d.groups, d.groups_at_once) * Cycles::of_step(d, recurrence);
    if (best >= 0 && cycles >= best) return;
    best = cycles;
    if (d.in_clusters) d.groups_at_once = d.groups;  // those that must wait need no launch
    *division = d;
  };
  for (int64_t size = 1; size <= kMaxClusterSize; size *= 2) consider(size, true, true);
  const int64_t widest = recurrence.units_together();
  for (int64_t size = device.multiprocessors; size > 1; size /= 2)
    for (const bool shared_weights : {true, false})
      consider(needed_blocks(recurrence, size < widest ? size : widest), false, shared_weights);
  if (best < 0) consider(1, false, false);
  return best >= 0;
}

}  // namespace pyneural::rnn
