// The tiles of attention, by the type of the numbers and by how many a row has.
//
// All kernels of a shape fit the shared memory of a block on sm_80, 163 KiB.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention {

template <class T>
constexpr bool kIsHalf = sizeof(T) == 2;

template <class T, int width>
using ForwardShape = Shape<T, width, kIsHalf<T> ? 64 : 32, 4>;
template <class T, int width>
using BackwardShape = Shape<T, width, kIsHalf<T> && width <= 64 ? 64 : 32, 4>;

// launch(shape) with the narrower shape where it holds the rows, the wider one elsewhere.
template <class T, template <class, int> class ShapeOf, class Launch>
cudaError_t with_shape(const AttentionParams<T>& params, const Launch& launch) {
  if constexpr (sizeof(T) <= 4) {
    if (params.width > 64 || params.value_width > 64) return launch(ShapeOf<T, 128>{});
  }
  return launch(ShapeOf<T, 64>{});
}

}  // namespace pyneural::attention
