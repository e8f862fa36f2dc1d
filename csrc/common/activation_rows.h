// Activations of rows of units, in place: what the networks' kernels do between their products.
#pragma once

#include <cstdint>

#include "vector_math.h"
#include "vectors.h"

namespace pyneural {

// a = f(a + bias) for [units][vectors], rows `stride` apart, and z = a + bias, each where it is not
// null.
template <class T>
using Activate = void (*)(int64_t units, int64_t vectors, const T* bias, T* z, T* a,
                          int64_t stride);
template <class Activation, class T>
void activate(int64_t units, int64_t vectors, const T* bias, T* z, T* a, int64_t stride) {
  for (int64_t m = 0; m < units; ++m) {
    const Vec<T> shift(bias ? bias[m] : T(0));
    for (int64_t n = m * stride; n < m * stride + vectors * lanes<T>(); n += lanes<T>()) {
      const Vec<T> value = Vec<T>::loadu(a + n) + shift;
      Vec<T> f[1];
      Activation::template evaluate<0>(value, f);
      if (z) value.store(z + n);
      f[0].store(a + n);
    }
  }
}

// grad *= f'(z) for [units][vectors], from a where f' is a function of it, else from z.
template <class T>
using ActivateBackward = void (*)(int64_t units, int64_t vectors, const T* saved, T* grad,
                                  int64_t stride);
template <class Activation, class T>
void activate_backward(int64_t units, int64_t vectors, const T* saved, T* grad, int64_t stride) {
  for (int64_t m = 0; m < units; ++m)
    for (int64_t n = m * stride; n < m * stride + vectors * lanes<T>(); n += lanes<T>()) {
      const Vec<T> of_a = Vec<T>::loadu(grad + n), from = Vec<T>::loadu(saved + n);
      multiply_by_slope<Activation>(of_a, from).store(grad + n);
    }
}

}  // namespace pyneural
