// What the CUDA kernels of the dense layer take: plain pointers and sizes, no torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/accumulator.h"
#include "../common/activation.h"

namespace pyneural::dense {

// A matrix as the operand of a product; one of the strides is 1.
template <class T>
struct Operand {
  const T* data = nullptr;
  int64_t row_stride = 0, k_stride = 0;

  constexpr const T* at(int64_t row, int64_t k) const {
    return data + row * row_stride + k * k_stride;
  }
};

// y [rows, columns] = f(z), z = a b^T + bias, a [rows, depth], b [columns, depth].
//
// T: float, double, BFloat16 or Float16.
template <class T>
struct ProductParams {
  int64_t rows = 0, columns = 0, depth = 0;
  Operand<T> a, b;
  const T* bias = nullptr;  // [columns], null: none
  ActivationKind activation = ActivationKind::linear;
  T* y = nullptr;
  T* z = nullptr;                     // null: not wanted
  bool with_tf32 = false;             // float: one product of 10-bit factors rather than three
  int32_t splits = 1;                 // of the depth, each summed by blocks of its own
  Accumulator<T>* partial = nullptr;  // [splits, rows, columns], where splits > 1

  // Fills splits for the current device; partial is the caller's to allocate.
  cudaError_t configure();
  cudaError_t launch(cudaStream_t stream) const;
};

// grad_z = grad_y f'(saved) [rows, columns], and grad_bias, its column sums.
template <class T>
struct GradParams {
  int64_t rows = 0, columns = 0;
  ActivationKind activation = ActivationKind::linear;
  const T* grad_y = nullptr;
  const T* saved = nullptr;           // y where f' is a function of it, else z
  T* grad_z = nullptr;                // null: not wanted
  T* grad_bias = nullptr;             // null: not wanted
  int64_t blocks = 0;                 // of rows
  Accumulator<T>* partial = nullptr;  // [blocks, columns], where grad_bias is wanted

  // Fills blocks; partial is the caller's to allocate.
  void configure();
  cudaError_t launch(cudaStream_t stream) const;
};

}  // namespace pyneural::dense
