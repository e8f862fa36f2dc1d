// A barrier of blocks that all run at the same time, which a cooperative launch makes sure of.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

// Called by all threads of `blocks` blocks; `count`, zero before the kernel, is theirs alone, and
// `round` counts the calls from 1. Writes before it are visible after it to loads that bypass the
// first-level cache: load_fresh.
__device__ inline void grid_barrier(unsigned* count, unsigned blocks, unsigned round) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && blocks > 1) {
    atomicAdd(count, 1u);
    while (*static_cast<volatile unsigned*>(count) < blocks * round) {
    }
    __threadfence();
  }
  __syncthreads();
}

// Loads a value that another block has written in this kernel.
template <class T>
__device__ inline T load_fresh(const T* from) {
  return __ldcg(from);
}

}  // namespace pyneural
