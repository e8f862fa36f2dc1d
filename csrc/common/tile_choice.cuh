// How many columns the tiles of a launch have, and where the blocks' slabs lie; see
// layer_product.cuh.
//
// Tall tiles read a weight fewer times, low ones reach more multiprocessors. For each k of a
// product a warp reads 1 + columns / 32 wavefronts of shared memory, 32 floats each, so a tile
// takes as long as 32 + columns of them. The choice is the least of that, times the tiles of the
// multiprocessor that has most of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>

#include "blocks.cuh"
#include "layer_product.cuh"
#include "tile_choice.h"

namespace pyneural {

// What is to be divided among tiles.
struct TiledWork {
  int64_t items;        // rows, or points
  int columns_an_item;  // of a tile
  int64_t units;        // of a slab
  int64_t bytes;        // of global memory that a block has beside its slab
};

// How many blocks of a kernel a multiprocessor of the current device runs at a time. The driver is
// asked once.
template <class Kernel>
cudaError_t blocks_at_once(Kernel* kernel, size_t shared, int* blocks) {
  static std::mutex mutex;
  static std::map<std::tuple<Kernel*, int, size_t>, int> counts;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error = allow_shared_bytes(kernel, shared)) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  if (const auto known = counts.find({kernel, device, shared}); known != counts.end()) {
    *blocks = known->second;
    return cudaSuccess;
  }
  if (const cudaError_t error =
          cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, kThreads, shared))
    return error;
  counts[{kernel, device, shared}] = *blocks;
  return cudaSuccess;
}

// How long the multiprocessor with most tiles takes, in columns of a tile. Two guesses, for a GPU
// to correct: a block that has a multiprocessor alone, idle at its barriers, takes as long as one
// and a half of two; a slab in global memory, read through the first-level cache, twice as long.
inline int64_t time_of_tiles(int64_t tiles, const TileChoice& choice, int at_once,
                             int multiprocessors) {
  const int64_t most = tiles_of(tiles, multiprocessors);
  const int64_t alone = at_once == 1 ? most : most % at_once == 1;
  return (2 * most + alone) * (32 + choice.columns) * (choice.shared_slab ? 1 : 2);
}

template <class T, class Kernel>
cudaError_t choose_tiles(Kernel* kernel, const TiledWork& work, TileChoice* choice) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  int64_t least = INT64_MAX;
  for (int columns = kTallestTile; columns >= std::max(32, work.columns_an_item); columns /= 2) {
    TileChoice now{columns};
    now.slab = work.units * unit_stride<T>(columns);
    const int64_t bytes = now.slab * static_cast<int64_t>(sizeof(T));
    now.shared_slab = bytes <= device.shared_bytes - static_cast<int64_t>(sizeof(WeightStage<T>));
    int at_once = 0;
    const size_t shared = now.shared_slab ? static_cast<size_t>(bytes) : 0;
    if (const cudaError_t error = blocks_at_once(kernel, shared, &at_once)) return error;
    if (at_once < 1) return cudaErrorInvalidValue;
    at_once = std::min(at_once, kBlocksPerMultiprocessor);
    const int64_t tiles = tiles_of(work.items, columns / work.columns_an_item);
    const int64_t time = time_of_tiles(tiles, now, at_once, device.multiprocessors);
    if (time >= least) continue;
    least = time;
    const int64_t of_block = work.bytes + (now.shared_slab ? 0 : bytes);
    now.blocks = std::min(blocks_for(tiles, of_block, device), device.multiprocessors * at_once);
    *choice = now;
  }
  return cudaSuccess;
}

}  // namespace pyneural
