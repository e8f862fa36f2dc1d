// Truncated Taylor series in one variable tau, as a value type: what the templates of
// jet_activation.h and residual_functions.h compute with in the place of vectors, so that their
// results are Taylor series too.
//
//   c_0 + c_1 tau + ... + c_K tau^K,   c_k = (1 / k!) d^k / d tau^k at tau = 0
//
// Products are convolutions. A function f of a series a for which f' = g a', with g a series too,
// follows coefficient by coefficient (Griewank and Walther 2008, "Evaluating Derivatives", 13.2):
//
//   k f_k = sum_{j = 1 .. k} j a_j g_{k - j}
#pragma once

#include <algorithm>
#include <type_traits>

#include "../common/vector_math.h"

namespace pyneural::jet {

// V: a vector of at::vec.
template <class V, int K>
struct Series {
  V c[K + 1];
  int degree;  // c_k = 0 beyond it, and is not set. Inlined, the products with a number are K + 1

  Series() = default;
  PYNEURAL_INLINE explicit Series(V value) : degree(0) { c[0] = value; }
  template <class Number>
    requires std::is_arithmetic_v<Number>
  PYNEURAL_INLINE explicit Series(Number value) : Series(V(value)) {}

  PYNEURAL_INLINE V get(int k) const { return k <= degree ? c[k] : V(0); }

  PYNEURAL_INLINE Series neg() const {
    Series result = *this;
    PYNEURAL_UNROLL
    for (int k = 0; k <= K; ++k)
      if (k <= degree) result.c[k] = c[k].neg();
    return result;
  }
  // As in torch, the derivative at 0 is 0.
  PYNEURAL_INLINE Series abs() const {
    const V below = V::blendv(V(0), V(-1), c[0] < V(0));
    Series result = Series(V::blendv(below, V(1), c[0] > V(0))) * *this;
    result.c[0] = c[0].abs();
    return result;
  }
  PYNEURAL_INLINE Series sqrt() const;
  PYNEURAL_INLINE Series exp() const;
  PYNEURAL_INLINE Series log() const;
  PYNEURAL_INLINE Series sin() const;
  PYNEURAL_INLINE Series cos() const;
};

// The series f of f_0 and, for k = 1 .. K, f_k = next(f, k), which reads those before.
template <int K, class V, class Next>
PYNEURAL_INLINE Series<V, K> series_of(V f0, const Next& next) {
  Series<V, K> f(f0);
  PYNEURAL_UNROLL
  for (int k = 1; k <= K; ++k) {
    f.c[k] = next(f, k);
    f.degree = k;
  }
  return f;
}

// sum_{j = first .. last} a_j b_{k - j}
template <class V, int K>
PYNEURAL_INLINE V convolution(const Series<V, K>& a, const Series<V, K>& b, int k, int first,
                              int last) {
  V sum(0);
  bool is_empty = true;
  PYNEURAL_UNROLL
  for (int j = 0; j <= K; ++j)
    if (first <= j && j <= last && j <= a.degree && k - j <= b.degree) {
      const V product = a.c[j] * b.c[k - j];
      sum = is_empty ? product : sum + product;
      is_empty = false;
    }
  return sum;
}

// (1 / k) sum_{j = 1 .. k} j a_j g_{k - j}
template <class V, int K>
PYNEURAL_INLINE V integral(const Series<V, K>& a, const Series<V, K>& g, int k) {
  V sum(0);
  bool is_empty = true;
  PYNEURAL_UNROLL
  for (int j = 1; j <= K; ++j)
    if (j <= k && j <= a.degree && k - j <= g.degree) {
      const V product = (j == 1 ? a.c[j] : V(j) * a.c[j]) * g.c[k - j];
      sum = is_empty ? product : sum + product;
      is_empty = false;
    }
  return k == 1 ? sum : sum * V(1. / k);
}

template <class V, int K>
PYNEURAL_INLINE Series<V, K> operator+(const Series<V, K>& a, const Series<V, K>& b) {
  Series<V, K> sum;
  sum.degree = std::max(a.degree, b.degree);
  PYNEURAL_UNROLL
  for (int k = 0; k <= K; ++k) {
    if (k <= a.degree && k <= b.degree)
      sum.c[k] = a.c[k] + b.c[k];
    else if (k <= a.degree)
      sum.c[k] = a.c[k];
    else if (k <= b.degree)
      sum.c[k] = b.c[k];
  }
  return sum;
}

template <class V, int K>
PYNEURAL_INLINE Series<V, K> operator-(const Series<V, K>& a, const Series<V, K>& b) {
  Series<V, K> difference;
  difference.degree = std::max(a.degree, b.degree);
  PYNEURAL_UNROLL
  for (int k = 0; k <= K; ++k) {
    if (k <= a.degree && k <= b.degree)
      difference.c[k] = a.c[k] - b.c[k];
    else if (k <= a.degree)
      difference.c[k] = a.c[k];
    else if (k <= b.degree)
      difference.c[k] = b.c[k].neg();
  }
  return difference;
}

template <class V, int K>
PYNEURAL_INLINE Series<V, K> operator*(const Series<V, K>& a, const Series<V, K>& b) {
  Series<V, K> product;
  product.degree = std::min(a.degree + b.degree, K);
  PYNEURAL_UNROLL
  for (int k = 0; k <= K; ++k)
    if (k <= product.degree) product.c[k] = convolution(a, b, k, 0, k);
  return product;
}

// q b = a
template <class V, int K>
PYNEURAL_INLINE Series<V, K> operator/(const Series<V, K>& a, const Series<V, K>& b) {
  return series_of<K>(a.c[0] / b.c[0], [&](const auto& q, int k) {
    return (a.get(k) - convolution(q, b, k, 0, k - 1)) / b.c[0];
  });
}

// s s = a
template <class V, int K>
PYNEURAL_INLINE Series<V, K> Series<V, K>::sqrt() const {
  return series_of<K>(c[0].sqrt(), [&](const auto& s, int k) {
    return (get(k) - convolution(s, s, k, 1, k - 1)) / (s.c[0] + s.c[0]);
  });
}

// f' = f a'
template <class V, int K>
PYNEURAL_INLINE Series<V, K> exponential(const Series<V, K>& a, V value) {
  return series_of<K>(value, [&](const auto& f, int k) { return integral(a, f, k); });
}

template <class V, int K>
PYNEURAL_INLINE Series<V, K> Series<V, K>::exp() const {
  return exponential(*this, c[0].exp());
}

// a' = a l', so that k a_k = k l_k a_0 + sum_{j < k} j l_j a_{k - j}
template <class V, int K>
PYNEURAL_INLINE Series<V, K> Series<V, K>::log() const {
  return series_of<K>(
      c[0].log(), [&](const auto& l, int k) { return (get(k) - integral(l, *this, k)) / c[0]; });
}

// sin' = cos a', cos' = -sin a'
template <class V, int K>
struct SinCos {
  Series<V, K> sin, cos;

  PYNEURAL_INLINE explicit SinCos(const Series<V, K>& a) : sin(a.c[0].sin()), cos(a.c[0].cos()) {
    PYNEURAL_UNROLL
    for (int k = 1; k <= K; ++k) {
      const V next = integral(a, cos, k);
      cos.c[k] = integral(a, sin, k).neg();
      sin.c[k] = next;
      sin.degree = cos.degree = k;
    }
  }
};

template <class V, int K>
PYNEURAL_INLINE Series<V, K> Series<V, K>::sin() const {
  return SinCos(*this).sin;
}
template <class V, int K>
PYNEURAL_INLINE Series<V, K> Series<V, K>::cos() const {
  return SinCos(*this).cos;
}

// Where the coefficients of a series lie: c_k, for a vector of points, at first + k * distance.
template <class T>
struct Coefficients {
  T* first;
  int64_t distance;

  PYNEURAL_INLINE Coefficients operator+(int64_t offset) const {
    return {first + offset, distance};
  }
};

}  // namespace pyneural::jet

namespace pyneural {

template <class T, int K>
struct Math<jet::Series<at::vec::Vectorized<T>, K>> {
  using V = at::vec::Vectorized<T>;
  using S = jet::Series<V, K>;

  PYNEURAL_INLINE static S load(jet::Coefficients<const T> from) {
    S series;
    series.degree = K;
    PYNEURAL_UNROLL
    for (int k = 0; k <= K; ++k) series.c[k] = V::loadu(from.first + k * from.distance);
    return series;
  }
  PYNEURAL_INLINE static void store(const S& series, jet::Coefficients<T> to) {
    PYNEURAL_UNROLL
    for (int k = 0; k <= K; ++k) series.get(k).store(to.first + k * to.distance);
  }

  // t' = (1 - t^2) z'
  PYNEURAL_INLINE static S tanh(const S& z) {
    return jet::series_of<K>(Math<V>::tanh(z.c[0]),
                             [&](const S& t, int k) { return integral(z, S(1) - t * t, k); });
  }
};

}  // namespace pyneural
