// Elementary functions of a scalar, for common/activation.h on the device.
#pragma once

#include <cmath>

#include "activation.h"

namespace pyneural {

template <class T>
struct ScalarMath {
  PYNEURAL_INLINE static T load(const T* from) { return *from; }
  PYNEURAL_INLINE static void store(T value, T* to) { *to = value; }
  PYNEURAL_INLINE static T exp(T z) { return std::exp(z); }
  PYNEURAL_INLINE static T expm1(T z) { return std::expm1(z); }
  PYNEURAL_INLINE static T tanh(T z) { return std::tanh(z); }
  PYNEURAL_INLINE static T sigmoid(T z) { return T(1) / (T(1) + std::exp(-z)); }
  PYNEURAL_INLINE static T sin(T z) { return std::sin(z); }
  PYNEURAL_INLINE static T cos(T z) { return std::cos(z); }
  PYNEURAL_INLINE static Normal<T> normal(T z) {
    return {T(0.5) * (T(1) + std::erf(z * T(0.70710678118654752440))),
            T(0.39894228040143267794) * std::exp(T(-0.5) * z * z)};
  }
  PYNEURAL_INLINE static T softplus(T z) {
    return (z > T(0) ? z : T(0)) + std::log1p(std::exp(-std::abs(z)));
  }
  PYNEURAL_INLINE static T where_positive(T z, T a, T b) { return z > T(0) ? a : b; }
  PYNEURAL_INLINE static T where_at_most_0(T z, T a, T b) { return z <= T(0) ? a : b; }
};

template <>
struct Math<float> : ScalarMath<float> {};
template <>
struct Math<double> : ScalarMath<double> {};

}  // namespace pyneural
