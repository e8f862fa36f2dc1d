// What the CUDA kernels of the spline take: plain pointers and sizes, no torch.
//
// Letters: N points, K bins.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "spline.h"

namespace pyneural::spline {

// One kind of parameters, [N, columns].
template <class T>
struct ParameterRows {
  const T* data = nullptr;
  int64_t distance = 0;  // of a row from the next
  T* grad = nullptr;     // backward, contiguous
};

template <class T>
struct SplineParams {
  Spline<T> spline;
  int64_t points = 0;            // N
  int32_t threads = 0;           // of a block: a point each
  int64_t slab = 0;              // elements of a point in shared memory
  const T* x = nullptr;          // [N]
  ParameterRows<T> rows[3];      // widths and heights [N, K], derivatives [N, K - 1]
  T* y = nullptr;                // [N] forward
  T* ladj = nullptr;             // [N] forward
  const T* grad_y = nullptr;     // [N] backward
  const T* grad_ladj = nullptr;  // [N] backward
  T* grad_x = nullptr;           // [N] backward

  // Fills threads and slab for the current device; threads is 0 where a point's parameters exceed
  // its shared memory.
  cudaError_t configure(bool backward);
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;

  int64_t shared_bytes() const { return threads * slab * static_cast<int64_t>(sizeof(T)); }
};

}  // namespace pyneural::spline
