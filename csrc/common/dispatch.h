// From the dtype of a tensor, which the checks have let through, to a type of C++.
#pragma once

#include <ATen/core/Tensor.h>

#include "accumulator.h"

namespace pyneural {

// body(T{}) for T float or double.
template <class Body>
decltype(auto) dispatch_floating(const at::Tensor& x, const Body& body) {
  return x.scalar_type() == at::kDouble ? body(double{}) : body(float{});
}

// The same with the two reduced precisions, by the names that the kernels have for them.
template <class BrainFloat = at::BFloat16, class HalfFloat = at::Half, class Body>
decltype(auto) dispatch_with_reduced(const at::Tensor& x, const Body& body) {
  if (x.scalar_type() == at::kBFloat16) return body(BrainFloat{});
  if (x.scalar_type() == at::kHalf) return body(HalfFloat{});
  return dispatch_floating(x, body);
}

inline bool is_reduced(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}

// Of the sums: what Accumulator<T> is of the elements.
inline at::ScalarType accumulator_dtype(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace pyneural
