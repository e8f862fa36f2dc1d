// A barrier of blocks that all run at the same time, which a cooperative launch makes sure of.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

// The barrier in two halves, called by all threads of `blocks` blocks; `count`, zero before the
// kernel, is theirs alone, and `round` counts the calls from 1. Both may pass the largest unsigned:
// what is compared is how far they are apart. What was written before a block arrives is visible to
// those who have waited, by loads that bypass the first-level cache.
__device__ inline void grid_arrive(unsigned* count) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(count, 1u);
}
__device__ inline void grid_wait(const unsigned* count, unsigned blocks, unsigned round) {
  if (threadIdx.x == 0) {
    while (static_cast<int>(*static_cast<const volatile unsigned*>(count) - blocks * round) < 0) {
    }
    __threadfence();
  }
  __syncthreads();
}

}  // namespace pyneural
