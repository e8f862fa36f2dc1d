// Tensors of a network's layers as layer_pointers.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "layer_pointers.h"

namespace pyneural {

// Appends the layers to `layers`. The pointers are to the elements of what it returns, which are
// the tensors themselves where they are contiguous.
template <class T>
std::vector<at::Tensor> point_to_layers(at::TensorList weights, at::TensorList biases,
                                        LayerPointers<T>* layers) {
  std::vector<at::Tensor> kept;
  kept.reserve(2 * weights.size());
  const auto keep = [&](const at::Tensor& tensor) {
    return kept.emplace_back(tensor.contiguous()).template const_data_ptr<T>();
  };
  layers->width[0] = static_cast<int32_t>(weights[0].size(1));
  for (size_t l = 0; l < weights.size(); ++l)
    layers->add(weights[l].size(0), keep(weights[l]), keep(biases[l]));
  return kept;
}

}  // namespace pyneural
