// What the CUDA kernels of the jet ops take: plain pointers and sizes, no torch.
//
// Letters: N points, D inputs, C channels, K derivatives, O outputs, L layers, P parameters.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/activation.h"
#include "plan.h"

namespace pyneural::jet {

constexpr int kMaxLayers = 64;

template <class T>
struct JetParams {
  Plan plan;
  ActivationKind activation{};
  int32_t layers = 0;                // L
  int32_t width[kMaxLayers + 1]{};   // [L + 1], width[0] = D, width[L] = O
  int64_t offset[kMaxLayers + 1]{};  // [L + 1] of each layer's weights in the parameters, then P
  int64_t points = 0;                // N
  bool has_jet_x = false;            // x is the jet of the inputs
  int32_t tile = 0;                  // points of a tile
  int32_t blocks = 0;                // of the launch; tile i belongs to block i % blocks
  int64_t slab = 0;                  // elements of a block's scratch
  bool shared_parameters = false;    // whether a block copies the parameters to shared memory

  const T* x = nullptr;            // [N, D]; of a jet [C, N, D]
  const T* parameters = nullptr;   // [P] weights[0] [O, I], biases[0] [O], weights[1], ...
  const T* grad_output = nullptr;  // [1 + K, N, O] backward
  T* scratch = nullptr;            // [blocks, slab]
  T* partial = nullptr;            // [blocks, P] backward: each block's gradient; null: not wanted
  T* grad_parameters = nullptr;    // [P] backward, where partial is wanted
  T* grad_x = nullptr;             // backward: of the shape of x; null: not wanted
  T* output = nullptr;             // forward: [1 + K, N, O]; jacobian: [N, (1 + K) O, P]

  // Fills tile, blocks, slab and shared_parameters for the current device; scratch and partial are
  // the caller's to allocate. sums_gradients: whether partial is wanted.
  cudaError_t configure(bool saves_layers, bool sums_gradients);
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;
  cudaError_t launch_jacobian(cudaStream_t stream) const;
};

}  // namespace pyneural::jet
