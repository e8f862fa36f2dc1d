// csrc/common/grid_barrier.cuh on the host: who waits gives the turn to another block.
#pragma once

#include <cuda_runtime_api.h>

namespace pyneural {

// Every other block gives its turn away when it has arrived: what it writes only then comes late.
// The others go on, and what they read without waiting is not there.
inline void grid_arrive(unsigned* count) {
  __syncthreads();
  if (threadIdx.x == 0) ++*count;
  if (blockIdx.x % 2) wait_for_blocks();
}
inline void grid_wait(const unsigned* count, unsigned blocks, unsigned round) {
  __syncthreads();
  while (static_cast<int>(*count - blocks * round) < 0) wait_for_blocks();  // for all alike
}

}  // namespace pyneural
