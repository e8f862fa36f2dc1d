// What the CUDA kernels of the sparsely connected layer take: plain pointers and sizes, no torch.
//
// Letters: N rows, I inputs, O outputs, E edges.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/activation.h"

namespace pyneural::masked_dense {

constexpr int kWordInputs = 32;

// Which of 32 neighbouring inputs an output is connected to, and the first of these edges.
struct alignas(16) EdgeWord {
  int64_t first_edge;
  uint32_t is_edge;
};

// The layer; an index that points out of its range stops the kernel.
template <class T>
struct MaskedDenseParams {
  int64_t rows = 0, in = 0, out = 0, edges = 0;  // N, I, O, E
  const int64_t* starts = nullptr;               // [O + 1]
  const int64_t* inputs = nullptr;               // [E]
  const T* values = nullptr;                     // [E]
  const T* x = nullptr;                          // [N, I]
  ActivationKind activation = ActivationKind::linear;
  EdgeWord* words = nullptr;  // [O, words_of_output()], the caller's to allocate

  // Forward: y = f(z), z = W x + bias.
  const T* bias = nullptr;  // [O], null: none
  T* y = nullptr;           // [N, O]
  T* z = nullptr;           // [N, O], null: not wanted

  // Backward.
  const T* grad_z = nullptr;  // [N, O]
  T* grad_x = nullptr;        // [N, I], null: not wanted
  T* grad_values = nullptr;   // [E]
  int32_t splits = 1;         // of the rows, each summed by blocks of its own
  T* partial = nullptr;       // [splits, E], the caller's to allocate

  int64_t words_of_output() const { return (in + kWordInputs - 1) / kWordInputs; }

  // Fills splits for the current device.
  cudaError_t configure_backward();
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;
};

}  // namespace pyneural::masked_dense
