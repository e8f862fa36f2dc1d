// Elementary functions of a vector, for common/activation.h on the host: torch's own at::vec,
// except where a hand-written function measures faster.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <type_traits>

#include "activation.h"
#include "exponential.h"

namespace pyneural {

namespace detail {

// float: z P(z^2) / Q(z^2), of least relative error, 1.3e-9, on |z| <= 9.02, from where tanh rounds
// to 1. Rounding makes that 5e-7, 0.6 units in the last place on average. Twice as fast as by an
// exponential: half the operations, and P and Q do not wait for each other.
PYNEURAL_INLINE at::vec::Vectorized<float> tanh(at::vec::Vectorized<float> z) {
  using V = at::vec::Vectorized<float>;
  const V x = at::vec::clamp(z, V(-9.02f), V(9.02f));
  const V y = x * x;
  const V p =
      polynomial(y, {-1.2204218601255605e-11f, 3.0586136890247004e-08f, 2.8007956237932148e-05f,
                     3.8683533958738434e-03f, 1.3679935802796547e-01f, 0.9999999987085485f});
  const V q = polynomial(y, {1.2874002631774781e-06f, 3.9386756229675793e-04f,
                             2.724593353315104e-02f, 4.7013267868854197e-01f, 1.0f});
  return at::vec::clamp(x * p / q, V(-1.0f), V(1.0f));
}

// expm1(r) / r on |r| <= log(2) / 2: polynomials of least relative error, 1.1e-8 and 1.8e-17.
PYNEURAL_INLINE at::vec::Vectorized<float> expm1_ratio(at::vec::Vectorized<float> r) {
  return polynomial(
      r, {0.001388895105f, 0.008369101033f, 0.04166713574f, 0.1666650585f, 0.4999999812f, 1.0f});
}
PYNEURAL_INLINE at::vec::Vectorized<double> expm1_ratio(at::vec::Vectorized<double> r) {
  return polynomial(r, {2.50522031734805489e-8, 2.76263104818165849e-7, 2.75574145770555398e-6,
                        0.0000248015044775210094, 0.000198412697075566812, 0.00138888889323672826,
                        0.00833333333339786568, 0.0416666666665735598, 0.166666666666665633,
                        0.500000000000000558, 1.0});
}

// e^z - 1 for |z| < 87 (double: 708): 2^n expm1(r) + (2^n - 1), which cancels nowhere.
template <class T>
PYNEURAL_INLINE at::vec::Vectorized<T> expm1(at::vec::Vectorized<T> z) {
  using V = at::vec::Vectorized<T>;
  const Rounded<T> n(z * V(T(kLog2E)), kExponentBias<T>);
  const V r = minus_multiple_of_log2(z, n.whole);
  const V power = at::vec::cast<T>(n.bits << decltype(n.bits)(kMantissaBits<T>));
  return at::vec::fmadd(power, expm1_ratio(r) * r, power - V(T(1)));
}

// double: tanh|z| = e / (e + 2) with e = expm1(2 |z|), within 4 units in the last place.
PYNEURAL_INLINE at::vec::Vectorized<double> tanh(at::vec::Vectorized<double> z) {
  using V = at::vec::Vectorized<double>;
  constexpr double kLimit = 19.07;  // tanh rounds to 1 beyond it
  const V e = expm1(at::vec::clamp_max(z.abs() + z.abs(), V(2 * kLimit)));
  return (e / (e + V(2))) | (z & V(-0.0));
}

// 1 / (1 + e^-z), e^-z = 2^(n - 1) 2^(r + 1) with one factor for the power, which is infinite from
// where the quotient rounds to 0. What it would be beyond z = 86 (double: 707) is lost in the sum.
template <class T>
PYNEURAL_INLINE at::vec::Vectorized<T> sigmoid(at::vec::Vectorized<T> z) {
  using V = at::vec::Vectorized<T>;
#ifndef __FMA__  // else the difference from n would lose its digits
  return V(T(1)) / (V(T(1)) + exp(z.neg()));
#else
  constexpr bool kSingle = sizeof(T) == 4;
  // Of log2(e), the nearest number of T and what is left.
  constexpr T kHigh = T(kLog2E), kLow = T(kSingle ? kLog2E - double(kHigh) : 2.035527374093103e-17);
  const V y = at::vec::clamp(z.neg(), V(T(kSingle ? -86 : -707)), V(T(kSingle ? 89 : 710)));
  const Rounded<T> n(y * V(kHigh), kExponentBias<T> - 1);
  const V r = at::vec::fmadd(y, V(kLow), at::vec::fmsub(y, V(kHigh), n.whole));
  const V half = exp2_fraction(r),
          power = at::vec::cast<T>(n.bits << decltype(n.bits)(kMantissaBits<T>));
  return V(T(1)) / at::vec::fmadd(half + half, power, V(T(1)));
#endif
}

// log(1 + x) on 0 <= x <= 1: twice the area hyperbolic tangent of s = x / (2 + x), an odd function,
// of least relative error, 4e-9 and 1.2e-18.
PYNEURAL_INLINE at::vec::Vectorized<float> log1p_ratio(at::vec::Vectorized<float> s2) {
  return polynomial(s2, {0.2817833263f, 0.2796060759f, 0.4002490953f, 0.6666631471f, 2.0f});
}
PYNEURAL_INLINE at::vec::Vectorized<double> log1p_ratio(at::vec::Vectorized<double> s2) {
  return polynomial(
      s2, {0.170600600168503353, 0.0831568957465742252, 0.121122467097625648, 0.133001029572399428,
           0.15386635405788943, 0.181817397908259004, 0.222222241116558108, 0.285714285449276373,
           0.400000000001902986, 0.666666666666661343, 2.0});
}
template <class T>
PYNEURAL_INLINE at::vec::Vectorized<T> log1p(at::vec::Vectorized<T> x) {
  const at::vec::Vectorized<T> s = x / (x + at::vec::Vectorized<T>(T(2)));
  return s * log1p_ratio(s * s);
}

// 1 - Phi(z) for z >= 0 is exp(-z^2 / 2) P(t) / (z + k) with t = (z - k) / (z + k), of least
// relative error, 3.9e-8 and 1.3e-17, to where it is 0: it cancels nowhere, and only the rounding
// of z^2 grows in it.
template <class T>
constexpr T kTailCentre = sizeof(T) == 4 ? 3 : 5;
PYNEURAL_INLINE at::vec::Vectorized<float> normal_tail(at::vec::Vectorized<float> t) {
  return polynomial(
      t, {-0.0002729990339f, -0.0009126400601f, 0.001077652158f, 0.006930308797f, -0.01047943929f,
          -0.04725737971f, 0.2300192431f, -0.5093322193f, 0.7290836709f});
}
PYNEURAL_INLINE at::vec::Vectorized<double> normal_tail(at::vec::Vectorized<double> t) {
  return polynomial(t,
                    {2.02539826167373034e-9,   7.2087685328185182e-9,     -1.02269647023354341e-8,
                     -6.53952272982113858e-8,  4.36052284780779839e-8,    4.32776730750694381e-7,
                     -3.37714390153499991e-7,  -2.76911535143048163e-6,   3.98146618413043464e-6,
                     0.0000166811692568786996, -0.0000497629991533624555, -0.0000593757175095734175,
                     0.000544899103079632446,  -0.000797869400491877165,  -0.00299337677529722703,
                     0.0207950668001496793,    -0.0691186387059821149,    0.165020366170366116,
                     -0.313533156671314722,    0.495305615969976908,      -0.66538250289005661,
                     0.769193049750062956});
}

// Phi and phi share the exponential.
template <class T>
PYNEURAL_INLINE Normal<at::vec::Vectorized<T>> normal(at::vec::Vectorized<T> z) {
  using V = at::vec::Vectorized<T>;
  const V e = exp2(z * z * V(T(-0.5 * kLog2E)));
  const V q = V(T(1)) / (z.abs() + V(kTailCentre<T>));
  const V t = at::vec::fmadd(q, V(T(-2) * kTailCentre<T>), V(T(1)));
  const V tail = normal_tail(t) * q * e;
  return {V::blendv(tail, V(T(1)) - tail, z > V(T(0))), V(T(0.39894228040143267794)) * e};
}

}  // namespace detail

template <class T>
struct Math<at::vec::Vectorized<T>> {
  using V = at::vec::Vectorized<T>;

  static V load(const T* from) { return V::loadu(from); }
  static void store(V value, T* to) { value.store(to); }
  PYNEURAL_INLINE static V exp(V z) { return pyneural::exp(z); }
  // Of z <= 0; -1 from where it rounds to that.
  PYNEURAL_INLINE static V expm1(V z) {
    return detail::expm1(at::vec::clamp(z, V(T(sizeof(T) == 4 ? -18 : -38)), V(T(0))));
  }
  PYNEURAL_INLINE static V sin(V z) { return z.sin(); }
  PYNEURAL_INLINE static V cos(V z) { return z.cos(); }
  PYNEURAL_INLINE static Normal<V> normal(V z) { return detail::normal(z); }
  PYNEURAL_INLINE static V sigmoid(V z) { return detail::sigmoid(z); }
  PYNEURAL_INLINE static V softplus(V z) {
    return at::vec::maximum(z, V(T(0))) + detail::log1p(exp(z.abs().neg()));
  }
  PYNEURAL_INLINE static V where_positive(V z, V a, V b) { return V::blendv(b, a, z > V(T(0))); }
  PYNEURAL_INLINE static V where_at_most_0(V z, V a, V b) { return V::blendv(b, a, z <= V(T(0))); }

  PYNEURAL_INLINE static V tanh(V z) { return detail::tanh(z); }
};

}  // namespace pyneural
