// A network's layers as the parameters of a kernel: a pointer to each one's weights and biases.
#pragma once

#include <cstdint>

#include "inline.h"

namespace pyneural {

constexpr int kMaxLayers = 64;

// Letters: L layers, P parameters.
template <class T>
struct LayerPointers {
  int32_t count = 0;                   // L
  int32_t width[kMaxLayers + 1] = {};  // [L + 1]: inputs, then the outputs of each layer
  // [L + 1] of each layer's gradient in all parameters', weights before biases; then P
  int64_t offset[kMaxLayers + 1] = {};
  const T* weights[kMaxLayers] = {};  // [L] each [O, I]
  const T* biases[kMaxLayers] = {};   // [L] each [O]

  PYNEURAL_INLINE int inputs() const { return width[0]; }
  PYNEURAL_INLINE int outputs() const { return width[count]; }
  PYNEURAL_INLINE int64_t parameters() const { return offset[count]; }

  // After the layers before it.
  void add(int64_t outputs, const T* layer_weights, const T* layer_biases) {
    weights[count] = layer_weights;
    biases[count] = layer_biases;
    offset[count + 1] = offset[count] + outputs * (width[count] + int64_t{1});
    width[++count] = static_cast<int32_t>(outputs);
  }
};

}  // namespace pyneural
