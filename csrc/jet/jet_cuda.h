// What the CUDA kernels of the jet ops take: plain pointers and sizes, no torch.
//
// Letters: N points, D inputs, C channels, K derivatives, O outputs, L layers, P parameters.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/activation.h"
#include "../common/layer_pointers.h"
#include "../common/tile_choice.h"
#include "plan.h"

namespace pyneural::jet {

enum class Pass { forward, backward, jacobian };

template <class T>
struct JetParams {
  Plan plan;
  ActivationKind activation{};
  LayerPointers<T> layers;
  int64_t points = 0;       // N
  bool has_jet_x = false;   // x is the jet of the inputs
  TileChoice tile;          // its columns: each channel's points, then at most C - 1 of zeros
  int32_t tile_points = 0;  // points of a tile

  const T* x = nullptr;            // [N, D]; of a jet [C, N, D]
  const T* grad_output = nullptr;  // [1 + K, N, O] backward
  T* scratch = nullptr;            // [blocks, slab], where the slabs are not shared memory
  T* partial = nullptr;            // [blocks, P] backward: each block's gradient; null: not wanted
  T* grad_parameters = nullptr;    // [P] backward, where partial is wanted
  T* grad_x = nullptr;             // backward: of the shape of x; null: not wanted
  T* output = nullptr;             // forward: [1 + K, N, O]; jacobian: [N, (1 + K) O, P]

  // Chooses the tile for the current device; scratch and partial are the caller's to allocate.
  // sums_gradients: whether partial is wanted.
  cudaError_t configure(Pass pass, bool sums_gradients);
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;
  cudaError_t launch_jacobian(cudaStream_t stream) const;
};

}  // namespace pyneural::jet
