// 2^x and e^x of a vector. at::vec's e^x is a call of a library, which empties the registers, and
// takes two to three times as long.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>

namespace pyneural {

namespace detail {

template <class T>
constexpr int kExponentBias = sizeof(T) == 4 ? 127 : 1023;
template <class T>
constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;

// 2^r on |r| <= 1/2: polynomials of least relative error, 1.9e-9 and 3.1e-18.
inline at::vec::Vectorized<float> exp2_fraction(at::vec::Vectorized<float> r) {
  using V = at::vec::Vectorized<float>;
  V p(0.0001534581216f);
  for (const float c :
       {0.001339993121f, 0.009618488957f, 0.05550328777f, 0.2402264689f, 0.6931472057f, 1.0f})
    p = at::vec::fmadd(p, r, V(c));
  return p;
}
inline at::vec::Vectorized<double> exp2_fraction(at::vec::Vectorized<double> r) {
  using V = at::vec::Vectorized<double>;
  V p(4.43528094461033616e-10);
  for (const double c : {7.07410562624565937e-9, 1.01781980333285277e-7, 1.3215433089594629e-6,
                         0.0000152527334899608046, 0.00015403530462514613, 0.00133335581467899503,
                         0.00961812910758833508, 0.0555041086648199215, 0.240226506959101562,
                         0.69314718055994533, 1.0})
    p = at::vec::fmadd(p, r, V(c));
  return p;
}

// 2^n for whole n of normal numbers; 0 bits, which are 0, for n = -kExponentBias.
template <class T>
inline at::vec::Vectorized<T> power_of_2(at::vec::Vectorized<at::vec::int_same_size_t<T>> n) {
  using Int = decltype(n);
  return at::vec::cast<T>((n + Int(kExponentBias<T>)) << Int(kMantissaBits<T>));
}

}  // namespace detail

// 2^x for x <= 127 (double: 1023): what a softmax is made of once log2(e) is in the scale. At most
// 1.5 units in the last place; exactly 1 at 0, and exactly 0 from -126.5 (double: -1022.5) down to
// -inf.
template <class T>
inline at::vec::Vectorized<T> exp2(at::vec::Vectorized<T> x) {
  using V = at::vec::Vectorized<T>;
  const V y = at::vec::clamp_min(x, V(T(-detail::kExponentBias<T>)));
  const V n = y.round();
  return detail::exp2_fraction(y - n) *
         detail::power_of_2<T>(at::vec::convert_to_int_of_same_size(n));
}

// e^x = 2^n e^r with r = x - n log(2), the power in two factors so that the product is rounded
// once: within 2 units in the last place, subnormal numbers and infinity included. log(2) is split
// so that n times its high part is exact.
template <class T>
inline at::vec::Vectorized<T> exp(at::vec::Vectorized<T> x) {
  using V = at::vec::Vectorized<T>;
  constexpr bool kSingle = sizeof(T) == 4;
  // Beyond these e^x rounds to 0 and to infinity.
  const V y = at::vec::clamp(x, V(T(kSingle ? -104 : -746)), V(T(kSingle ? 89 : 710)));
  constexpr double kLog2E = 1.44269504088896340736;
  constexpr double kHigh = kSingle ? 0.693145751953125 : 6.93147180369123816490e-1;
  constexpr double kLow = kSingle ? 1.42860682030941723212e-6 : 1.90821492927058770002e-10;
  const V n = (y * V(T(kLog2E))).round();
  V r = at::vec::fmadd(n, V(T(-kHigh)), y);
  r = at::vec::fmadd(n, V(T(-kLow)), r);
  const V f = r * V(T(kLog2E));
  const V half = (n * V(T(0.5))).round();
  const auto power = [](V whole) {
    return detail::power_of_2<T>(at::vec::convert_to_int_of_same_size(whole));
  };
  return detail::exp2_fraction(f) * power(half) * power(n - half);
}

#if defined(CPU_CAPABILITY_AVX512)
// Four operations fewer.
template <>
inline at::vec::Vectorized<float> exp2(at::vec::Vectorized<float> x) {
  const __mmask16 is_kept = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.5f), _CMP_NLE_UQ);
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 fraction = detail::exp2_fraction(_mm512_sub_ps(x, n));
  return _mm512_maskz_scalef_ps(is_kept, fraction, n);
}
#endif

}  // namespace pyneural
