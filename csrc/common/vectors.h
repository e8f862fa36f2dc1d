// Vectors of the instruction set in use, and sums across their lanes.
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cstdint>

namespace pyneural {

template <class T>
using Vec = at::vec::Vectorized<T>;

template <class T>
constexpr int64_t lanes() {
  return Vec<T>::size();
}

// How many vectors hold `elements`, and how many elements those vectors have.
template <class T>
constexpr int64_t vectors_of(int64_t elements) {
  return (elements + lanes<T>() - 1) / lanes<T>();
}
template <class T>
constexpr int64_t whole_vectors(int64_t elements) {
  return vectors_of<T>(elements) * lanes<T>();
}

template <class T>
T lane_sum(Vec<T> v) {
  return at::vec::vec_reduce_all<T>([](Vec<T> a, Vec<T> b) { return a + b; }, v);
}

// The compiler's own vector type, as long as a Vec: at::vec's is an array in the baseline build,
// which compilers do not keep in registers. a * b + c contracts to a fused multiply-add.
template <class T>
using Register [[gnu::vector_size(sizeof(Vec<T>)), gnu::aligned(alignof(T)), gnu::may_alias]] = T;

template <class T>
const Register<T>& as_register(const T* from) {
  return *reinterpret_cast<const Register<T>*>(from);
}
template <class T>
Register<T>& as_register(T* to) {
  return *reinterpret_cast<Register<T>*>(to);
}

// to[i] += the sum of the lanes of v[i], i < 4.
template <class T>
void add_lane_sums(const Register<T> (&v)[4], T* to) {
  for (int i = 0; i < 4; ++i)
    for (int64_t lane = 0; lane < lanes<T>(); ++lane) to[i] += v[i][lane];
}

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
namespace detail {

#if defined(CPU_CAPABILITY_AVX512)
inline __m256 fold_halves(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
inline __m256d fold_halves(__m512d v) {
  return _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
}
#else
inline __m256 fold_halves(__m256 v) { return v; }
inline __m256d fold_halves(__m256d v) { return v; }
#endif

}  // namespace detail

template <>
inline void add_lane_sums<float>(const Register<float> (&v)[4], float* to) {
  using detail::fold_halves;
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(fold_halves(v[0]), fold_halves(v[1])),
                                      _mm256_hadd_ps(fold_halves(v[2]), fold_halves(v[3])));
  const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
  _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), sums));
}
template <>
inline void add_lane_sums<double>(const Register<double> (&v)[4], double* to) {
  using detail::fold_halves;
  const __m256d low = _mm256_hadd_pd(fold_halves(v[0]), fold_halves(v[1]));   // 0 1 0 1
  const __m256d high = _mm256_hadd_pd(fold_halves(v[2]), fold_halves(v[3]));  // 2 3 2 3
  const __m256d sums = _mm256_add_pd(_mm256_permute2f128_pd(low, high, 0x20),
                                     _mm256_permute2f128_pd(low, high, 0x31));
  _mm256_storeu_pd(to, _mm256_add_pd(_mm256_loadu_pd(to), sums));
}
#endif

}  // namespace pyneural
