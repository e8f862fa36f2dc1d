// Products of bfloat16 by AVX512_BF16, whose vdpbf16ps multiplies pairs and adds both products to a
// float: twice the multiply-adds of float. Weights and their gradients are rounded to bfloat16 for
// it, as in the tensor cores of a GPU; accumulators are float.
#pragma once

#if defined(CPU_CAPABILITY_AVX512)

#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "products.h"

// The build's instruction set does not include it; the caller has checked the processor.
#define PYNEURAL_AVX512_BF16 __attribute__((target("avx512bf16")))

namespace pyneural::attention::cpu {

// Two bfloat16, the first in the low half.
using Pair = uint32_t;

namespace detail {

// c [M][N vectors] = factor a b, or += a b.
template <int M, int N>
PYNEURAL_AVX512_BF16 void pair_tile(int64_t depth, const Pair* __restrict a, int64_t row_stride,
                                    int64_t depth_stride, const Pair* __restrict b, int64_t ldb,
                                    float factor, float* __restrict c, int64_t ldc,
                                    bool accumulate) {
  __m512 sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      sum[m][n] = accumulate ? _mm512_loadu_ps(c + m * ldc + n * 16) : _mm512_setzero_ps();
  for (int64_t k = 0; k < depth; ++k, a += depth_stride, b += ldb) {
    __m512bh row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = (__m512bh)_mm512_loadu_si512(b + n * 16);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const auto left = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[m * row_stride]));
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] = _mm512_dpbf16_ps(sum[m][n], left, row[n]);
    }
  }
  const __m512 f = _mm512_set1_ps(factor);
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      _mm512_storeu_ps(c + m * ldc + n * 16, accumulate ? sum[m][n] : _mm512_mul_ps(sum[m][n], f));
}

using PairTile = void (*)(int64_t, const Pair*, int64_t, int64_t, const Pair*, int64_t, float,
                          float*, int64_t, bool);

template <int... I>
constexpr auto pair_tiles(std::integer_sequence<int, I...>) {
  return std::array<PairTile, sizeof...(I)>{
      &pair_tile<I / kTileVectors + 1, I % kTileVectors + 1>...};
}
constexpr auto kPairTiles = pair_tiles(std::make_integer_sequence<int, kTileRows * kTileVectors>{});

// to [width / 2] = from [width] in their order; width is whole vectors of float.
PYNEURAL_AVX512_BF16 inline void narrow(const float* from, int64_t width, Pair* to) {
  for (int64_t j = 0; j < width; j += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + j / 2),
                        (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + j)));
}

// to [width]: an element of each of two rows; the second may be null, for zeros.
PYNEURAL_AVX512_BF16 inline void narrow_two(const float* first, const float* second, int64_t width,
                                            Pair* to) {
  const auto words = [](const float* from) PYNEURAL_AVX512_BF16 {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from)));
  };
  for (int64_t j = 0; j < width; j += 16) {
    const __m512i low = words(first + j),
                  high = second ? words(second + j) : _mm512_setzero_si512();
    _mm512_storeu_si512(to + j, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
}

// The next `count` <= 16 elements of a row as words, padded with zeros; zeros for a null row.
inline __m512i load_halves(const at::BFloat16* row, int64_t count) {
  if (!row) return _mm512_setzero_si512();
  const auto mask = static_cast<__mmask16>((1u << count) - 1);
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row));
}

inline float to_float(uint32_t half) {
  const uint32_t bits = half << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace detail

struct PairProducts {
  using In = at::BFloat16;
  using T = float;
  using Word = Pair;
  static constexpr int kDepth = 2;
  static constexpr bool kScalesScores = true;

  static bool are_supported() { return __builtin_cpu_supports("avx512bf16"); }

  static int64_t words(int64_t width) { return (width + 1) / 2; }
  static int64_t left_stride(int64_t width) { return words(width); }

  static Rows<Pair> left_rows(const In* from, int64_t stride, int64_t rows, int64_t width, float,
                              bool, Pair* scratch) {
    const int64_t ld = words(width);
    for (int64_t i = 0; i < rows; ++i) {
      if (ld > 0) scratch[(i + 1) * ld - 1] = 0;
      std::memcpy(scratch + i * ld, from + i * stride, width * sizeof(In));
    }
    return {scratch, ld, true};
  }
  static Panels<Pair> right_rows(const In* from, int64_t stride, int64_t rows, int64_t width,
                                 bool check, int64_t, Pair* scratch) {
    const int64_t ld = padded<float>(width);
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    __mmask32 beyond = 0;  // elements that are infinite or NaN
    for (int64_t i = 0; i < rows; i += 2) {
      const In *const first = from + i * stride, *const second = first + stride;
      for (int64_t e = 0; e < width; e += 16) {
        const int64_t count = std::min<int64_t>(16, width - e);
        const __m512i low = detail::load_halves(first + e, count),
                      high = detail::load_halves(i + 1 < rows ? second + e : nullptr, count);
        const __m512i both = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
        beyond |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(both, exponent), exponent);
        _mm512_storeu_si512(scratch + i / 2 * ld + e, both);
      }
    }
    return {scratch, ld, panel_width<float>(), ld, beyond == 0 || !check};
  }
  static Panels<Pair> right_of(const Rows<Pair>&, const In* from, int64_t stride, int64_t rows,
                               int64_t width, bool check, Pair* scratch) {
    return right_rows(from, stride, rows, width, check, 0, scratch);
  }
  static const Pair* left_of(const float* weights, int64_t rows, int64_t width, Pair* scratch) {
    for (int64_t r = 0; r < rows; ++r)
      detail::narrow(weights + r * kScoresStride<float>, width,
                     scratch + r * kScoresStride<float> / 2);
    return scratch;
  }
  static const Pair* left_transposed(const float* weights, int64_t rows, int64_t width,
                                     Pair* scratch) {
    for (int64_t r = 0; r < rows; r += 2) {
      const float* const row = weights + r * kScoresStride<float>;
      detail::narrow_two(row, r + 1 < rows ? row + kScoresStride<float> : nullptr, width,
                         scratch + r / 2 * kScoresStride<float>);
    }
    return scratch;
  }

  static void multiply(const Strided<Pair>& a, int64_t rows, int64_t depth, const Panel<Pair>& b,
                       float factor, float* c, int64_t ldc) {
    detail::kPairTiles[(rows - 1) * kTileVectors + b.vectors - 1](
        depth, a.data, a.row_stride, a.depth_stride, b.data, b.stride, factor, c, ldc, false);
  }
  static void add(const Strided<Pair>& a, int64_t rows, int64_t depth, const Panels<Pair>& b,
                  float* c, int64_t ldc) {
    if (b.is_finite) {
      for (int64_t e = 0; e < b.width; e += panel_width<float>()) {
        const int64_t vectors = std::min<int64_t>(kTileVectors, (b.width - e) / lanes<float>());
        detail::kPairTiles[(rows - 1) * kTileVectors + vectors - 1](
            depth, a.data, a.row_stride, a.depth_stride, b.data + e, b.row_stride, 1, c + e, ldc,
            true);
      }
      return;
    }
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t k = 0; k < 2 * depth; ++k) {
        const int shift = k % 2 * 16;
        const float factor = detail::to_float(*a.at(m, k / 2) >> shift & 0xffff);
        if (factor == 0) continue;
        for (int64_t e = 0; e < b.width; ++e)
          c[m * ldc + e] +=
              factor * detail::to_float(b.data[k / 2 * b.row_stride + e] >> shift & 0xffff);
      }
  }
};

}  // namespace pyneural::attention::cpu

#endif
