// csrc/common/tensor_core.cuh on the host: the lanes of a warp exchange their words through memory.
//
// What each lane holds is taken from the tables of the PTX ISA again, not from the file that this
// stands in for.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstring>

#include "tensor_core_types.h"

namespace pyneural {

namespace tensor_core {

inline uint32_t as_word(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  return word;
}
inline float as_float(uint32_t word) {
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}
inline float to_float(Float16 value) { return c10::detail::fp16_ieee_to_fp32_value(value.bits); }
inline Float16 to_float16(float value) { return {c10::detail::fp16_ieee_from_fp32_value(value)}; }
inline float to_tf32(float value) { return as_float((as_word(value) + 0x1000) & ~0x1fffu); }

inline uint32_t pack_float16(float low, float high) {
  return uint32_t{to_float16(low).bits} | uint32_t{to_float16(high).bits} << 16;
}
inline uint32_t pack_bfloat16(float low, float high) {
  return uint32_t{c10::detail::round_to_nearest_even(low)} |
         uint32_t{c10::detail::round_to_nearest_even(high)} << 16;
}

// The words of a lane, of its warp's current product.
template <class Word>
struct Lane {
  Word a[4], b[2];
};

// The tensor cores add in float without rounding: what the result does not hold is cut off.
// Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Comput. Sci.
// 7:e330 (2021).
inline float cut_off(double sum) {
  const float nearest = static_cast<float>(sum);
  const bool is_larger = std::abs(static_cast<double>(nearest)) > std::abs(sum);
  return is_larger && std::isfinite(nearest) ? std::nextafter(nearest, 0.0f) : nearest;
}

// a(row, k) and b(k, column) of the lane's warp, from the words of the lane that holds them.
template <int k_size, class Accumulator, class Word, class Element>
void multiply(Accumulator (&d)[4], const Word (&a)[4], const Word (&b)[2], Element element) {
  constexpr int kInWord = k_size / 8;
  Lane<Word> own;
  std::memcpy(own.a, a, sizeof a);
  std::memcpy(own.b, b, sizeof b);
  const auto& lanes = cuda_on_host::exchange_in_warp(own);
  const unsigned thread = threadIdx.x, first = thread / 32 * 32, lane = thread % 32;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
    double sum = d[i];
    for (int k = 0; k < k_size; ++k) {
      // k_size 16: a[0] (row < 8, k < 8), a[1] (row >= 8, k < 8), a[2] and a[3] the same, k >= 8.
      const int half = k / (k_size / 2), in_half = k % (k_size / 2);
      const auto& of_a = lanes[first + row % 8 * 4 + in_half / kInWord];
      const auto& of_b = lanes[first + column * 4 + in_half / kInWord];
      sum += static_cast<double>(element(of_a.a[row / 8 + 2 * half], in_half % kInWord)) *
             element(of_b.b[half], in_half % kInWord);
    }
    if constexpr (sizeof(Accumulator) == 4)
      d[i] = cut_off(sum);
    else
      d[i] = sum;
  }
}

inline void multiply_bfloat16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply<16>(d, a, b, [](uint32_t word, int i) { return as_float((word >> 16 * i) << 16); });
}
inline void multiply_float16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply<16>(d, a, b, [](uint32_t word, int i) {
    return to_float(Float16{static_cast<uint16_t>(word >> 16 * i)});
  });
}
inline void multiply_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  multiply<8>(d, a, b, [](uint32_t word, int) { return as_float(word & ~0x1fffu); });
}

inline void multiply_float64(double (&d)[4], const double (&a)[4], const double (&b)[2]) {
  multiply<8>(d, a, b, [](double word, int) { return word; });
}

// ldmatrix: row r of matrix m is where lane 8 m + r points. A lane reads word t of row g of each:
// the words of a matrix are read at a time, transposed or not, for what counts bank conflicts.
inline void load_matrices(uint32_t (&words)[4], const void* row) {
  const auto& rows = cuda_on_host::exchange_in_warp(row);
  const int first = threadIdx.x / 32 * 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int m = 0; m < 4; ++m) {
    if (reinterpret_cast<uintptr_t>(rows[first + 8 * m + g]) % 16 != 0)
      cuda_on_host::fail("a row of a matrix that is not aligned to 16 bytes");
    words[m] = static_cast<const uint32_t*>(rows[first + 8 * m + g])[t];
  }
}
inline void load_matrices_transposed(uint32_t (&words)[4], const void* row) {
  std::array<uint32_t, 4> own;
  uint32_t straight[4];
  load_matrices(straight, row);
  std::copy_n(straight, 4, own.begin());
  const auto& lanes = cuda_on_host::exchange_in_warp(own);
  const int first = threadIdx.x / 32 * 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int m = 0; m < 4; ++m) {
    // Element (r, c) is half c % 2 of the word that lane 4 r + c / 2 has read.
    const auto element = [&](int r) {
      return lanes[first + 4 * r + g / 2][m] >> g % 2 * 16 & 0xffff;
    };
    words[m] = element(2 * t) | element(2 * t + 1) << 16;
  }
}

}  // namespace tensor_core

}  // namespace pyneural
