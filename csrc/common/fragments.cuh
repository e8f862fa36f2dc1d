// Matrix products by a warp of tiles in shared memory, for every element type.
//
//   d [16, 8] += a [16, kStep] b [kStep, 8], accumulated in float, double in double
//
// bfloat16 and float16: one product of a tensor core. float: three in tf32, exact up to the last
// bits. double: four in the tensor cores' double. Operands are functions that return the address of
// an element; see tile_layout.cuh.
#pragma once

#include <type_traits>

#include "activation.h"
#include "tensor_core.cuh"

namespace pyneural {

// A float as the sum of a tf32 and a remainder rounded to tf32: three of the four products give all
// but the last bits. Where the tf32 is infinite, the remainder is NaN or the opposite infinity, so
// that the sum is NaN: then plain_product says what it is.
struct SplitFloat {
  uint32_t high, low;
};
__device__ inline SplitFloat split_tf32(float value) {
  const float rounded = tensor_core::to_tf32(value);
  return {tensor_core::as_word(rounded),
          tensor_core::as_word(tensor_core::to_tf32(value - rounded))};
}

// sum_k a[k a_stride] b[k b_stride] by plain multiply-adds. Rarely called, so kept out of the
// loops.
[[gnu::noinline]] __device__ inline float plain_product(const float* a, int64_t a_stride,
                                                        const float* b, int64_t b_stride,
                                                        int64_t depth) {
  float sum = 0;
  for (int64_t k = 0; k < depth; ++k) sum += a[k * a_stride] * b[k * b_stride];
  return sum;
}

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

// Two bytes an element: a word of a fragment holds two neighbours along k.
template <class T>
struct HalfFragments {
  using Accumulator = float;
  static constexpr int kStep = 16;
  struct A {
    uint32_t words[4];
  };
  struct B {  // of two neighbouring d
    uint32_t words[2][2];
  };

  // a(row, k) at at(row, k).
  template <class At>
  __device__ static A load_a(const At& at) {
    A a;
    const int lane = lane_of_warp();
    tensor_core::load_matrices(a.words, at(lane % 16, lane / 16 * 8));
    return a;
  }
  // b(k, n) at at(n, k), n < 16.
  template <class At>
  __device__ static B load_b(const At& at) {
    uint32_t words[4];
    const int lane = lane_of_warp();
    tensor_core::load_matrices(words, at(lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8));
    return {{{words[0], words[1]}, {words[2], words[3]}}};
  }
  // b(k, n) at at(k, n), for an `a` that is from_accumulators.
  template <class At>
  __device__ static B load_b_along_n(const At& at) {
    uint32_t words[4];
    const int lane = lane_of_warp();
    tensor_core::load_matrices_transposed(words, at(lane % 16, lane / 16 * 8));
    return {{{words[0], words[1]}, {words[2], words[3]}}};
  }
  // The accumulators of kStep / 8 adjacent products as the a of the next one.
  __device__ static A from_accumulators(const float (*sums)[4]) {
    return {{pack(sums[0][0], sums[0][1]), pack(sums[0][2], sums[0][3]),
             pack(sums[1][0], sums[1][1]), pack(sums[1][2], sums[1][3])}};
  }
  __device__ static void multiply(float (&d)[4], const A& a, const B& b, int which) {
    multiply(d, a.words, b.words[which]);
  }
  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<T, BFloat16>)
      tensor_core::multiply_bfloat16(d, a, b);
    else
      tensor_core::multiply_float16(d, a, b);
  }

 private:
  __device__ static uint32_t pack(float low, float high) {
    if constexpr (std::is_same_v<T, BFloat16>)
      return tensor_core::pack_bfloat16(low, high);
    else
      return tensor_core::pack_float16(low, high);
  }
};

// An element a word. Along k, where the order of the sum is free, the words t and t + 4 of
// from_accumulators are the elements 2 t and 2 t + 1 that a lane holds.
template <class T, class WordOf>
struct WordFragments {
  using Accumulator = T;
  using Word = decltype(WordOf::make(T()));
  static constexpr int kStep = 8;
  struct A {
    Word words[4];
  };
  struct B {
    Word words[2][2];
  };

  template <class At>
  __device__ static A load_a(const At& at) {
    A a;
    const int lane = lane_of_warp();
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q)
      a.words[q] = WordOf::make(*at(lane / 4 + q % 2 * 8, lane % 4 + q / 2 * 4));
    return a;
  }
  template <class At>
  __device__ static B load_b(const At& at) {
    const int lane = lane_of_warp();
    return make_b([&](int q) { return at(lane / 4 + q / 2 * 8, lane % 4 + q % 2 * 4); });
  }
  template <class At>
  __device__ static B load_b_along_n(const At& at) {
    const int lane = lane_of_warp();
    return make_b([&](int q) { return at(lane % 4 * 2 + q % 2, lane / 4 + q / 2 * 8); });
  }
  __device__ static A from_accumulators(const T (*sums)[4]) {
    const T(&s)[4] = sums[0];
    return {{WordOf::make(s[0]), WordOf::make(s[2]), WordOf::make(s[1]), WordOf::make(s[3])}};
  }

 private:
  template <class Element>
  __device__ static B make_b(const Element& element) {
    B b;
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) b.words[q / 2][q % 2] = WordOf::make(*element(q));
    return b;
  }
};

struct SplitWord {
  __device__ static SplitFloat make(float value) { return split_tf32(value); }
};
struct WholeWord {
  __device__ static double make(double value) { return value; }
};

template <class T>
struct Fragments : HalfFragments<T> {};

template <>
struct Fragments<float> : WordFragments<float, SplitWord> {
  __device__ static void multiply(float (&d)[4], const A& a, const B& b, int which) {
    const SplitFloat(&w)[4] = a.words;
    const SplitFloat(&v)[2] = b.words[which];
    const uint32_t a_high[4] = {w[0].high, w[1].high, w[2].high, w[3].high};
    const uint32_t a_low[4] = {w[0].low, w[1].low, w[2].low, w[3].low};
    const uint32_t b_high[2] = {v[0].high, v[1].high}, b_low[2] = {v[0].low, v[1].low};
    // Added outside of the tensor cores, which cut off what their sums do not hold: over a long sum
    // that would add up.
    float sum[4] = {};
    tensor_core::multiply_tf32(sum, a_low, b_high);
    tensor_core::multiply_tf32(sum, a_high, b_low);
    tensor_core::multiply_tf32(sum, a_high, b_high);
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) d[q] += sum[q];
  }
};

template <>
struct Fragments<double> : WordFragments<double, WholeWord> {
  __device__ static void multiply(double (&d)[4], const A& a, const B& b, int which) {
    tensor_core::multiply_float64(d, a.words, b.words[which]);
  }
};

}  // namespace pyneural
