// 2^x and e^x of a vector. at::vec's e^x is a call of a library, which empties the registers, and
// takes two to three times as long; these are always inlined.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstddef>
#include <cstdint>

#include "inline.h"

namespace pyneural {

// c[0] x^(n - 1) + ... + c[n - 1], even and odd powers apart: half as long a chain.
template <class T, size_t n>
PYNEURAL_INLINE at::vec::Vectorized<T> polynomial(at::vec::Vectorized<T> x, const T (&c)[n]) {
  using V = at::vec::Vectorized<T>;
  const V x2 = x * x;
  V sum[2] = {V(c[0]), V(c[1])};
#pragma GCC unroll 32
  for (size_t i = 2; i < n; ++i) sum[i % 2] = at::vec::fmadd(sum[i % 2], x2, V(c[i]));
  return at::vec::fmadd(sum[n % 2], x, sum[(n - 1) % 2]);
}

namespace detail {

template <class T>
constexpr int kExponentBias = sizeof(T) == 4 ? 127 : 1023;
template <class T>
constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;

// x rounded to a whole n, and n + bias in the last bits of an integer: the sum with 1.5 * 2^23
// (double: 2^52) has no bits left for a fraction. For |n + bias| < 2^22.
template <class T>
struct Rounded {
  using Int = at::vec::Vectorized<at::vec::int_same_size_t<T>>;

  PYNEURAL_INLINE Rounded(at::vec::Vectorized<T> x, int bias) {
    const at::vec::Vectorized<T> shift(T(int64_t{3} << (kMantissaBits<T> - 1)) + T(bias));
    const at::vec::Vectorized<T> sum = x + shift;
    whole = sum - shift;
    bits = at::vec::cast<typename Int::value_type>(sum);
  }

  at::vec::Vectorized<T> whole;
  Int bits;
};

// 2^r on |r| <= 1/2: polynomials of least relative error, 1.9e-9 and 3.1e-18.
PYNEURAL_INLINE at::vec::Vectorized<float> exp2_fraction(at::vec::Vectorized<float> r) {
  return polynomial(r, {0.0001534581216f, 0.001339993121f, 0.009618488957f, 0.05550328777f,
                        0.2402264689f, 0.6931472057f, 1.0f});
}
PYNEURAL_INLINE at::vec::Vectorized<double> exp2_fraction(at::vec::Vectorized<double> r) {
  return polynomial(r, {4.43528094461033616e-10, 7.07410562624565937e-9, 1.01781980333285277e-7,
                        1.3215433089594629e-6, 0.0000152527334899608046, 0.00015403530462514613,
                        0.00133335581467899503, 0.00961812910758833508, 0.0555041086648199215,
                        0.240226506959101562, 0.69314718055994533, 1.0});
}

// x - n log(2), whose log(2) is split so that n times its high part is exact.
template <class T>
PYNEURAL_INLINE at::vec::Vectorized<T> minus_multiple_of_log2(at::vec::Vectorized<T> x,
                                                              at::vec::Vectorized<T> n) {
  using V = at::vec::Vectorized<T>;
  constexpr double kHigh = sizeof(T) == 4 ? 0.693145751953125 : 6.93147180369123816490e-1;
  constexpr double kLow = sizeof(T) == 4 ? 1.42860682030941723212e-6 : 1.90821492927058770002e-10;
  return at::vec::fmadd(n, V(T(-kLow)), at::vec::fmadd(n, V(T(-kHigh)), x));
}

constexpr double kLog2E = 1.44269504088896340736;

}  // namespace detail

// 2^x for x <= 127 (double: 1023): what a softmax is made of once log2(e) is in the scale. Within
// 2 units in the last place; exactly 1 at 0, and exactly 0 from -126.5 (double: -1022.5) down to
// -inf, where the exponent n + bias of the power is 0.
template <class T>
PYNEURAL_INLINE at::vec::Vectorized<T> exp2(at::vec::Vectorized<T> x) {
  using V = at::vec::Vectorized<T>;
  constexpr int kBias = detail::kExponentBias<T>;
  const V y = at::vec::clamp_min(x, V(T(-kBias)));
  const detail::Rounded<T> n(y, kBias);
  const auto power = n.bits << decltype(n.bits)(detail::kMantissaBits<T>);
  return detail::exp2_fraction(y - n.whole) * at::vec::cast<T>(power);
}

// e^x = 2^n e^r with r = x - n log(2), the power in two factors so that the product is rounded
// once: within 2.5 units in the last place, subnormal numbers and infinity included.
template <class T>
PYNEURAL_INLINE at::vec::Vectorized<T> exp(at::vec::Vectorized<T> x) {
  using V = at::vec::Vectorized<T>;
  using Int = typename detail::Rounded<T>::Int;
  constexpr bool kSingle = sizeof(T) == 4;
  constexpr int kBits = detail::kMantissaBits<T>;
  // Beyond these e^x rounds to 0 and to infinity.
  const V y = at::vec::clamp(x, V(T(kSingle ? -104 : -746)), V(T(kSingle ? 89 : 710)));
  // The exponents of both factors, with their bias, add up to n + 2 bias.
  const detail::Rounded<T> n(y * V(T(detail::kLog2E)), 2 * detail::kExponentBias<T>);
  const V r = detail::minus_multiple_of_log2(y, n.whole);
  const Int exponent_bits(static_cast<typename Int::value_type>(
      at::vec::int_same_size_t<T>{2 * detail::kExponentBias<T> + 1} << kBits));
  const Int half = (n.bits << Int(kBits - 1)) & exponent_bits;
  const Int other_half = (n.bits - (half >> Int(kBits))) << Int(kBits);
  return detail::exp2_fraction(r * V(T(detail::kLog2E))) * at::vec::cast<T>(half) *
         at::vec::cast<T>(other_half);
}

#if defined(CPU_CAPABILITY_AVX512)
// Three operations fewer.
template <>
PYNEURAL_INLINE at::vec::Vectorized<float> exp2(at::vec::Vectorized<float> x) {
  const __mmask16 is_kept = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.5f), _CMP_NLE_UQ);
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 fraction = detail::exp2_fraction(_mm512_sub_ps(x, n));
  return _mm512_maskz_scalef_ps(is_kept, fraction, n);
}
#endif

}  // namespace pyneural
