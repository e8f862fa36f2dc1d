// Sums over the lanes of a warp.
#pragma once

#include <cuda_runtime_api.h>

namespace pyneural {

// Over the lanes of a warp that differ in the bits from `first` on; all get the same sum.
template <class T>
__device__ inline T sum_of_lanes(T value, int first) {
  for (int other = 16; other >= first; other /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, other);
  return value;
}

}  // namespace pyneural
