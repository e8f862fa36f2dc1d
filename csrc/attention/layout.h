// Memory layout of tensors [N, H, L, E].
#pragma once

#include <ATen/ATen.h>

namespace pyneural::attention {

// A new tensor that lies in memory as another does: projections come with the heads inside a row,
// [N, L, H E], and a result that does too needs no copy on its way back. pyneural/ops/attention.py
// has the same rule for its fake kernels.
inline at::Tensor empty_with_layout(const at::Tensor& like, at::IntArrayRef shape) {
  if (like.stride(1) >= like.stride(2)) return at::empty(shape, like.options());
  return at::empty({shape[0], shape[2], shape[1], shape[3]}, like.options()).transpose(1, 2);
}

// With contiguous rows, as the kernels expect.
inline at::Tensor with_rows(const at::Tensor& t) {
  return t.stride(3) == 1 || t.size(3) <= 1 ? t : t.contiguous();
}

}  // namespace pyneural::attention
