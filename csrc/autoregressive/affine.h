// The affine transform of a feature, y = exp(a) x + t, with the parameters t and c, and
// a = c / (1 + |c| / L), L = log(1 / slope). Functions as in ../spline/spline.h.
#pragma once

#include "../spline/spline.h"

namespace pyneural::autoregressive {

template <class T>
struct Affine {
  T per_limit;  // 1 / L
  bool inverse;
};

template <class T>
Affine<T> make_affine(double slope, bool inverse) {
  return {static_cast<T>(-1 / std::log(slope)), inverse};
}

template <class V, class T>
PYNEURAL_INLINE spline::Values<V> evaluate(const Affine<T>& affine, V x, const T* parameters, T*,
                                           int64_t stride) {
  using M = Math<V>;
  const V shift = M::load(parameters), c = M::load(parameters + stride);
  const V log_scale = c * spline::detail::limit_factor(c, V(affine.per_limit));
  if (affine.inverse) {
    const V minus = V(0) - log_scale;
    return {(x - shift) * M::exp(minus), minus};
  }
  return {x * M::exp(log_scale) + shift, log_scale};
}

template <class V, class T>
PYNEURAL_INLINE V differentiate(const Affine<T>& affine, V x, V grad_y, V grad_ladj, T* parameters,
                                T*, int64_t stride) {
  using M = Math<V>;
  const V shift = M::load(parameters), c = M::load(parameters + stride);
  const V factor = spline::detail::limit_factor(c, V(affine.per_limit));
  const V log_scale = c * factor;
  V grad_x, grad_shift, grad_log_scale;
  if (affine.inverse) {
    const V per_scale = M::exp(V(0) - log_scale);
    grad_x = grad_y * per_scale;
    grad_shift = V(0) - grad_x;
    grad_log_scale = grad_shift * (x - shift) - grad_ladj;
  } else {
    grad_x = grad_y * M::exp(log_scale);
    grad_shift = grad_y;
    grad_log_scale = grad_x * x + grad_ladj;
  }
  M::store(grad_shift, parameters);
  M::store(grad_log_scale * (factor * factor), parameters + stride);
  return grad_x;
}

}  // namespace pyneural::autoregressive
