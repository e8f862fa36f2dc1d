// How many blocks a launch has.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

__host__ __device__ inline int64_t tiles_of(int64_t size, int64_t tile) {
  return (size + tile - 1) / tile;
}

// A grid has up to 2^31 - 1 blocks.
inline cudaError_t check_grid(int64_t blocks) {
  return blocks <= INT32_MAX ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace pyneural
