// Kernels whose blocks of threads take tiles of rows in turn and own their part of a sum.
//
// Tile i belongs to block i % blocks. A block adds up its gradient alone, and a second kernel adds
// those of the blocks in order. No atomics: the same bits on every run on the same kind of device.
#pragma once

#include "launch.cuh"
#include "matmul.cuh"

namespace pyneural {

// Calls body(first row) for the block's tiles in order.
template <class Body>
__device__ void for_tiles(int64_t rows, int64_t tile, const Body& body) {
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * tile; first < rows;
       first += static_cast<int64_t>(gridDim.x) * tile)
    body(first);
}

constexpr int kSummedAtOnce = 32;  // elements of a block, each by kThreads / 32 threads

// total [size] = the sum of the blocks' parts [blocks, size]. The threads of an element have parts
// that follow one another, and what they sum is added in their order.
template <class T>
__global__ void add_parts_kernel(const T* parts, int64_t blocks, int64_t size, T* total) {
  constexpr int kShares = kThreads / kSummedAtOnce;
  __shared__ T sums[kShares][kSummedAtOnce];
  const int share = static_cast<int>(threadIdx.x) / kSummedAtOnce;
  const int lane = static_cast<int>(threadIdx.x) % kSummedAtOnce;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kSummedAtOnce + lane;
  T sum = T(0);
  for (int64_t b = share * blocks / kShares; i < size && b < (share + 1) * blocks / kShares; ++b)
    sum += parts[b * size + i];
  sums[share][lane] = sum;
  __syncthreads();
  if (share > 0 || i >= size) return;
  for (int s = 1; s < kShares; ++s) sum += sums[s][lane];
  total[i] = sum;
}

template <class T>
cudaError_t launch_add_parts(const T* parts, int64_t blocks, int64_t size, T* total,
                             cudaStream_t stream) {
  return launch(add_parts_kernel<T>, tiles_of(size, kSummedAtOnce), kThreads, 0, stream, parts,
                blocks, size, total);
}

constexpr int kBlocksPerMultiprocessor = 2;  // what 128 registers a thread allow

// The blocks of a launch for so many tiles. Each has `bytes` of global memory: where that is short,
// they are fewer rather than their tiles smaller, since a tile that does not fill the product's
// columns wastes multiply-adds on every block.
inline int32_t blocks_for(int64_t tiles, int64_t bytes, const DeviceLimits& device) {
  constexpr int64_t kBytes = int64_t{1} << 30;  // of all blocks together
  int64_t blocks = static_cast<int64_t>(device.multiprocessors) * kBlocksPerMultiprocessor;
  if (blocks * bytes > kBytes) blocks = kBytes / bytes;
  if (blocks > tiles) blocks = tiles;
  return static_cast<int32_t>(blocks > 1 ? blocks : 1);
}

}  // namespace pyneural
