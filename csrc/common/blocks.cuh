// Kernels whose blocks of threads take tiles of rows in turn and own their part of a sum.
//
// Tile i belongs to block i % blocks. A block adds up its gradient alone, and a second kernel adds
// those of the blocks in order. No atomics: the same bits on every run on the same kind of device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "matmul.cuh"

namespace pyneural {

// Calls body(first row) for the block's tiles in order.
template <class Body>
__device__ void for_tiles(int64_t rows, int64_t tile, const Body& body) {
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * tile; first < rows;
       first += static_cast<int64_t>(gridDim.x) * tile)
    body(first);
}

// total [size] = the sum of the blocks' parts [blocks, size].
template <class T>
__global__ void add_parts_kernel(const T* parts, int64_t blocks, int64_t size, T* total) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= size) return;
  T sum = T(0);
  for (int64_t b = 0; b < blocks; ++b) sum += parts[b * size + i];
  total[i] = sum;
}

template <class T>
cudaError_t launch_add_parts(const T* parts, int64_t blocks, int64_t size, T* total,
                             cudaStream_t stream) {
  const auto grid = static_cast<unsigned>((size + kThreads - 1) / kThreads);
  add_parts_kernel<T><<<grid, kThreads, 0, stream>>>(parts, blocks, size, total);
  return cudaGetLastError();
}

}  // namespace pyneural
