// Memory for what the ops return, and their arguments as the kernels take them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "checks.h"

namespace pyneural {

// An output of the dtype and device of x; one that is not wanted has no elements.
inline at::Tensor empty_if(bool is_wanted, at::IntArrayRef shape, const at::Tensor& x) {
  return at::empty(is_wanted ? shape : at::IntArrayRef{0}, x.options());
}

// y [..., outputs] of a layer for x [..., inputs], and z of that shape where it is wanted and f'
// needs it.
template <class Layer>
Two empty_outputs(const at::Tensor& x, const Layer& layer, bool with_preactivation) {
  const c10::DimVector shape = with_columns(x, layer.out);
  const bool with_z = with_preactivation && needs_preactivation(layer.activation);
  return {empty_if(true, shape, x), empty_if(with_z, shape, x)};
}

// Null where a tensor is undefined or has no elements, as one that is not wanted.
template <class T>
T* data_or_null(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.numel() == 0) return nullptr;
  if constexpr (std::is_const_v<T>)
    return tensor.const_data_ptr<std::remove_const_t<T>>();
  else
    return tensor.data_ptr<T>();
}

// In float32, for the kernels that know no reduced precision.
inline at::Tensor upcast(const at::Tensor& tensor) { return tensor.to(at::kFloat); }
inline OptionalTensor upcast(const OptionalTensor& tensor) {
  return tensor ? OptionalTensor(upcast(*tensor)) : std::nullopt;
}

// The sum of parts [parts, ...], in their order. Reads and writes the first.
inline at::Tensor sum_parts(const at::Tensor& parts) {
  at::Tensor total = parts.select(0, 0);
  for (int64_t i = 1; i < parts.size(0); ++i) total.add_(parts.select(0, i));
  return parts.size(0) == 1 ? total : total.clone();
}

}  // namespace pyneural
