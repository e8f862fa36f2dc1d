// What the CUDA kernel of dropout takes: plain pointers and sizes, no torch.
#pragma once

#include <cuda_runtime_api.h>

#include "../common/dropout.h"

namespace pyneural::dropout {

// y = x / (1 - p) where an element is kept, else 0 x. T: float, double, BFloat16 or Float16.
template <class T>
struct DropoutParams {
  int64_t size = 0;
  const T* x = nullptr;           // [size]
  const int64_t* seed = nullptr;  // [1], on the device, so that a graph draws anew at each replay
  Dropout dropout;                // but for its seed
  T* y = nullptr;                 // [size]

  cudaError_t launch(cudaStream_t stream) const;
};

}  // namespace pyneural::dropout
