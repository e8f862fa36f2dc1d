// Activations of four elements by one call.
//
// The loops of a product's tile are unrolled. All activations in each place of such a loop would be
// nine tenths of a kernel's instructions, so they stand in a function of their own.
#pragma once

#include "activation.h"

namespace pyneural {

template <class T>
struct Four {
  T values[4];
};

// Those of float hide each other's latency; those of double are too long for that.
template <class T>
constexpr int kActivationsAtOnce = sizeof(T) == 4 ? 2 : 1;

template <class T>
__device__ Four<T> four_of(const T* values) {
  return {{values[0], values[1], values[2], values[3]}};
}

// f(z)
template <class T>
[[gnu::noinline]] __device__ Four<T> activate(ActivationKind kind, Four<T> z) {
  visit_activation(kind, [&](auto f) {
#pragma unroll kActivationsAtOnce < T>
    for (int q = 0; q < 4; ++q) {
      T y[1];
      decltype(f)::template evaluate<0>(z.values[q], y);
      z.values[q] = y[0];
    }
  });
  return z;
}

// grad f'(saved), saved as multiply_by_slope of activation.h takes it.
template <class T>
[[gnu::noinline]] __device__ Four<T> multiply_by_slope(ActivationKind kind, Four<T> grad,
                                                       Four<T> saved) {
  visit_activation(kind, [&](auto f) {
#pragma unroll kActivationsAtOnce < T>
    for (int q = 0; q < 4; ++q)
      grad.values[q] = multiply_by_slope<decltype(f)>(grad.values[q], saved.values[q]);
  });
  return grad;
}

}  // namespace pyneural
