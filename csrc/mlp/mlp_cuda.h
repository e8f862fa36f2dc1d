// What the CUDA kernels of the mlp ops take: plain pointers and sizes, no torch.
//
// Letters: N rows, I inputs, O outputs, L layers, P parameters.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/activation.h"

namespace pyneural::mlp {

constexpr int kMaxLayers = 64;

template <class T>
struct MlpParams {
  int32_t layers = 0;                // L
  int64_t width[kMaxLayers + 1]{};   // [L + 1], width[0] = I, width[L] = O
  int64_t offset[kMaxLayers + 1]{};  // [L + 1] of each layer's weights in the parameters, then P
  ActivationKind hidden = ActivationKind::linear, final = ActivationKind::linear;
  int64_t rows = 0;          // N
  int32_t blocks = 0;        // of the launch
  int64_t slab = 0;          // elements of a block's working memory
  bool shared_slab = false;  // whether that is shared memory
  // Where in the slab a backward has each layer's value, what f' is computed from, two gradients.
  int64_t value_at[kMaxLayers]{}, saved_at[kMaxLayers]{}, grad_at[2]{};

  const T* x = nullptr;           // [N, I]
  const T* parameters = nullptr;  // [P] weights[0] [O, I], biases[0] [O], weights[1], ...
  const T* grad_y = nullptr;      // [N, O] backward
  T* scratch = nullptr;           // [blocks, slab], where the slabs are not shared memory
  T* partial = nullptr;           // [blocks, P] backward: each block's gradient; null: not wanted
  T* grad_parameters = nullptr;   // [P] backward, where partial is wanted
  T* grad_x = nullptr;            // [N, I] backward; null: not wanted
  T* y = nullptr;                 // [N, O] forward

  PYNEURAL_INLINE ActivationKind activation(int l) const { return l + 1 < layers ? hidden : final; }

  // Fills blocks, slab and shared_slab for the current device; scratch and partial are the caller's
  // to allocate.
  cudaError_t configure(bool backward);
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;
};

}  // namespace pyneural::mlp
