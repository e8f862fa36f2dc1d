// What the CUDA kernels of the mlp ops take: plain pointers and sizes, no torch.
//
// Letters: N rows, I inputs, O outputs, L layers, P parameters.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/activation.h"
#include "../common/layer_pointers.h"
#include "../common/tile_choice.h"

namespace pyneural::mlp {

template <class T>
struct MlpParams {
  LayerPointers<T> layers;
  ActivationKind hidden = ActivationKind::linear, final = ActivationKind::linear;
  int64_t rows = 0;  // N
  TileChoice tile;
  // Where in the slab, in units, a backward has the inputs, each layer's value, what f' is computed
  // from, and two gradients.
  int32_t inputs_at = 0, value_at[kMaxLayers]{}, saved_at[kMaxLayers]{}, grad_at[2]{};

  const T* x = nullptr;          // [N, I]
  const T* grad_y = nullptr;     // [N, O] backward
  T* scratch = nullptr;          // [blocks, slab], where the slabs are not shared memory
  T* partial = nullptr;          // [blocks, P] backward: each block's gradient; null: not wanted
  T* grad_parameters = nullptr;  // [P] backward, where partial is wanted
  T* grad_x = nullptr;           // [N, I] backward; null: not wanted
  T* y = nullptr;                // [N, O] forward

  PYNEURAL_INLINE ActivationKind activation(int l) const {
    return l + 1 < layers.count ? hidden : final;
  }

  // Chooses the tile for the current device; scratch and partial are the caller's to allocate.
  // sums_gradients: whether partial is wanted.
  cudaError_t configure(bool backward, bool sums_gradients);
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;
};

}  // namespace pyneural::mlp
