// What the CUDA kernel of the diffusion_sampler op takes: plain pointers and sizes, no torch.
//
// Letters: N rows, D features, C columns of the condition, L layers, H_1 outputs of the first one,
// P parameters, S steps, K values of the network that a step takes.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/activation.h"

namespace pyneural::diffusion_sampler {

constexpr int kMaxLayers = 64;

template <class T>
struct DiffusionSamplerParams {
  int32_t layers = 0;                // L
  int64_t width[kMaxLayers + 1]{};   // [L + 1], width[0] = D + C, width[L] = D
  int64_t offset[kMaxLayers + 1]{};  // [L + 1] of each layer's weights in the parameters, then P
  ActivationKind activation = ActivationKind::linear;
  int64_t rows = 0;                             // N
  int64_t features = 0, condition_columns = 0;  // D, C
  int64_t steps = 0, memory = 0;                // S, K
  T guidance = 0;
  int32_t blocks = 0;        // of the launch
  int64_t slab = 0;          // elements of a block's working memory
  bool shared_slab = false;  // whether that is shared memory

  const T* x = nullptr;             // [N, D]
  const T* condition = nullptr;     // [N, C]; null: none
  const T* parameters = nullptr;    // [P] weights[0] [H_1, D + C], biases[0] [H_1], weights[1], ...
  const T* shifts = nullptr;        // [S, H_1]
  const T* coefficients = nullptr;  // [S, 2 + K]
  const int64_t* seed = nullptr;    // [1], on the device
  T* scratch = nullptr;             // [blocks, slab], where the slabs are not shared memory
  T* y = nullptr;                   // [N, D]

  // Fills blocks, slab and shared_slab for the current device; scratch is the caller's to allocate.
  cudaError_t configure();
  cudaError_t launch(cudaStream_t stream) const;
};

}  // namespace pyneural::diffusion_sampler
