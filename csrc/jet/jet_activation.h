// An activation applied to one unit's jet at some points, forward and backward, for host and
// device.
//
// A unit's jet is its C channels, each `stride` elements after the one before. V is what is worked
// on at once: a vector of neighbouring points on the host, one point on the device. Forward and
// backward are Faà di Bruno's formula of plan.h and its transpose; the plan is read at run time,
// the highest derivative of the activation and each term's order are template arguments.
#pragma once

#include "../common/activation.h"
#include "plan.h"

namespace pyneural::jet {

namespace detail {

// coefficient f^(k) prod_j z_{factor[j]}
template <int k, class V, class From>
PYNEURAL_INLINE V term_value(const Term& term, V coefficient, const V* f, int64_t stride, From z) {
  V product = coefficient * f[k];
  PYNEURAL_UNROLL
  for (int j = 0; j < k; ++j) product = product * Math<V>::load(z + term.factor[j] * stride);
  return product;
}

// The transpose: adds to the factors' grads, returns what the term adds to the grad of z_0.
template <int k, class V, class T>
PYNEURAL_INLINE V term_backward(const Term& term, V coefficient, const V* f, int64_t stride,
                                const T* z, V grad_a, T* grad) {
  V factor[k], before[k];  // before[j]: product of the factors up to the j-th, without it
  PYNEURAL_UNROLL
  for (int j = 0; j < k; ++j) factor[j] = Math<V>::load(z + term.factor[j] * stride);
  before[0] = coefficient * grad_a;
  PYNEURAL_UNROLL
  for (int j = 1; j < k; ++j) before[j] = before[j - 1] * factor[j - 1];
  V after = f[k];
  PYNEURAL_UNROLL
  for (int j = k - 1; j >= 0; --j) {
    T* const target = grad + term.factor[j] * stride;
    Math<V>::store(after * before[j] + Math<V>::load(target), target);
    after = after * factor[j];
  }
  return f[k + 1] * before[k - 1] * factor[k - 1];
}

// Adds the term to a channel of a where its order is k; so too its transpose.
template <int k, int order, class V, class From>
PYNEURAL_INLINE void add_term(const Term& term, V coefficient, const V* f, int64_t stride, From z,
                              V* sum) {
  if constexpr (k <= order)
    if (term.order == k) *sum = *sum + term_value<k>(term, coefficient, f, stride, z);
}
template <int k, int order, class V, class T>
PYNEURAL_INLINE void add_term_backward(const Term& term, V coefficient, const V* f, int64_t stride,
                                       const T* z, V grad_a, T* grad, V* grad_z0) {
  if constexpr (k <= order)
    if (term.order == k)
      *grad_z0 = *grad_z0 + term_backward<k>(term, coefficient, f, stride, z, grad_a, grad);
}

// f[0 .. n] from channel 0 of z as activate left it.
template <class Activation, int n, class V>
PYNEURAL_INLINE void saved_derivatives(V saved, V* f) {
  f[0] = saved;
  if constexpr (Activation::kFromValue)
    Activation::template derivatives<n>(saved, saved, f);
  else
    Activation::template evaluate<n>(saved, f);
}

}  // namespace detail

// The activation's jet from its derivatives f[0 .. order]. z and a: pointers, or what Math<V> loads
// from and stores to in their place.
template <int order, class V, class P, class From, class To>
PYNEURAL_INLINE void store_jet(const P& plan, int64_t stride, const V* f, From z, To a) {
  Math<V>::store(f[0], a);
  if constexpr (order >= 1) {
    int t = 0;
    PYNEURAL_UNROLL
    for (int c = 1; c < plan.channels; ++c) {
      V sum = f[1] * Math<V>::load(z + c * stride);
      for (; t < plan.terms && plan.term[t].channel == c; ++t) {
        const V w = V(plan.coefficient[t]);
        detail::add_term<2, order>(plan.term[t], w, f, stride, z, &sum);
        detail::add_term<3, order>(plan.term[t], w, f, stride, z, &sum);
        detail::add_term<4, order>(plan.term[t], w, f, stride, z, &sum);
      }
      Math<V>::store(sum, a + c * stride);
    }
  }
}

// The transpose: grad [C] in: d/d a, out: d/d z, from f[0 .. order + 1] and z as activate left it.
template <int order, class V, class P, class T>
PYNEURAL_INLINE void transpose_jet(const P& plan, int64_t stride, const V* f, const T* z, T* grad) {
  V grad_z0 = f[1] * Math<V>::load(grad);
  if constexpr (order >= 1) {
    int t = 0;
    // A channel's terms have lower channels as factors. Going upwards, the grad of a that a
    // channel's terms read is still in place, and those that they add to are grads of z already.
    PYNEURAL_UNROLL
    for (int c = 1; c < plan.channels; ++c) {
      const V grad_a = Math<V>::load(grad + c * stride);
      grad_z0 = f[2] * grad_a * Math<V>::load(z + c * stride) + grad_z0;
      Math<V>::store(f[1] * grad_a, grad + c * stride);
      for (; t < plan.terms && plan.term[t].channel == c; ++t) {
        const Term& term = plan.term[t];
        const V w = V(static_cast<T>(plan.coefficient[t]));
        detail::add_term_backward<2, order>(term, w, f, stride, z, grad_a, grad, &grad_z0);
        detail::add_term_backward<3, order>(term, w, f, stride, z, grad_a, grad, &grad_z0);
        detail::add_term_backward<4, order>(term, w, f, stride, z, grad_a, grad, &grad_z0);
      }
    }
  }
  Math<V>::store(grad_z0, grad);
}

// z [C] in: pre-activation without its bias; out: what the functions below need, which is z with in
// channel 0 the activation's value where its derivatives follow from that, else z_0 with bias.
// a [C] out: the activation's jet.
template <class Activation, int order, class V, class P, class T>
PYNEURAL_INLINE void activate(const P& plan, int64_t stride, T bias, T* z, T* a) {
  V f[order + 1];
  const V z0 = Math<V>::load(z) + V(bias);
  Activation::template evaluate<order>(z0, f);
  Math<V>::store(Activation::kFromValue ? f[0] : z0, z);
  store_jet<order>(plan, stride, f, z, a);
}

// z [C]: as activate left it; grad [C] in: d/d a, out: d/d z.
template <class Activation, int order, class V, class P, class T>
PYNEURAL_INLINE void activate_backward(const P& plan, int64_t stride, const T* z, T* grad) {
  V f[order + 2];
  detail::saved_derivatives<Activation, order + 1>(Math<V>::load(z), f);
  transpose_jet<order>(plan, stride, f, z, grad);
}

}  // namespace pyneural::jet
