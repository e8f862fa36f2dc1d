// What the CUDA kernels of the autoregressive ops take: plain pointers and sizes, no torch.
//
// Letters: N rows, D features, C columns of the context, L layers, F transformed features with P
// parameters each, W all weights and biases. The network has levels of units: its inputs are level
// 0, the hidden units 1 to L - 1, and the transformed features L, of P outputs each.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "affine.h"

namespace pyneural::autoregressive {

constexpr int kMaxLayers = 32;

// Where in a block's working memory each level's units are, z of the hidden ones and the gradients,
// of which a forward has none; the parameters of some features, what a spline works with, and the
// log-derivatives of each feature and of all.
struct Slab {
  int64_t a[kMaxLayers]{}, z[kMaxLayers]{}, grad[kMaxLayers]{};
  int64_t parameters = 0, working = 0, ladj = 0, total_ladj = 0;
  int64_t size = 0;  // elements
};

template <class T>
struct AutoregressiveParams {
  int32_t layers = 0;                // L
  int64_t width[kMaxLayers + 1]{};   // [L + 1] inputs, then the outputs of each layer
  int64_t offset[kMaxLayers + 1]{};  // [L + 1] of each layer's weights in the parameters, then W
  ActivationKind activation = ActivationKind::linear;
  bool is_affine = true;  // which of the transforms counts
  Affine<T> affine{};
  spline::Spline<T> spline{};
  bool inverse = false;
  int64_t rows = 0, features = 0, context_columns = 0;  // N, D, C
  int64_t parameters_of_feature = 0;                    // P

  // Filled by configure.
  int32_t blocks = 0;                   // of the launch
  int64_t level_at[kMaxLayers + 1]{};   // of each level's units among all, and then their number
  int64_t weight_at[kMaxLayers]{};      // of each layer's sorted weights, behind which its biases
  int64_t transposed_at[kMaxLayers]{};  // likewise for a backward
  int64_t sorted_size = 0;              // elements of all of these
  int64_t gradient_size = 0;            // of those that are not transposed, which come first
  int64_t units = 0;                    // of all levels
  int64_t chunk = 0;                    // transformed features whose parameters a block has at once
  Slab slab{};
  bool shared_slab = false;  // whether that is shared memory

  const T* x = nullptr;              // [N, D]
  const T* context = nullptr;        // [N, C]
  const int64_t* degrees = nullptr;  // [D + hidden units]
  const T* parameters = nullptr;     // [W] weights[0] [out, in], biases[0] [out], weights[1], ...
  int64_t* index = nullptr;          // [kIndices, units], and what is below
  T* sorted = nullptr;               // [sorted_size]
  T* scratch = nullptr;              // [blocks, slab.size], where the slabs are not shared memory
  T* y = nullptr;                    // [N, D] forward
  T* ladj = nullptr;                 // [N] forward
  const T* seen = nullptr;           // [N, D] backward: what the network has seen
  const T* grad_y = nullptr;         // [N, D] backward
  const T* grad_ladj = nullptr;      // [N] backward
  T* grad_x = nullptr;               // [N, D] backward; null: not wanted
  T* grad_context = nullptr;         // [N, C] backward; null: not wanted
  T* partial =
      nullptr;         // [blocks, gradient_size] backward: each block's gradient; null: not wanted
  T* total = nullptr;  // [gradient_size] backward: the sum of these
  T* grad_parameters = nullptr;  // [W] backward, where partial is wanted

  // For a unit in the order of its degree: where it was, its degree, its column in [x, context] if
  // it has one, how many units of the level below it sees, and the first above that sees it. For a
  // transformed feature: the input that it is, or -1.
  static constexpr int kIndices = 6;
  enum Index { source, degree, column, visible, first, input };

  PYNEURAL_INLINE int64_t features_seen() const { return width[0] - context_columns; }
  // Features that stay are then the only ones that the network sees.
  PYNEURAL_INLINE bool is_coupling() const { return features_seen() < features; }
  PYNEURAL_INLINE int64_t transformed() const {
    return is_coupling() ? features - features_seen() : features;
  }
  PYNEURAL_INLINE int64_t units_of(int level) const {
    return level == layers ? transformed() : width[level];
  }

  // For the current device; index, sorted, scratch, partial and total are the caller's to allocate.
  cudaError_t configure(bool backward);
  cudaError_t launch_forward(cudaStream_t stream) const;
  cudaError_t launch_backward(cudaStream_t stream) const;
};

}  // namespace pyneural::autoregressive
