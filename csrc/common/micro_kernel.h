// The three tiles, held in registers, that the ops' products are made of. Vectors run along n:
//
//   product_tile: c[m][n] = or += sum_k a[m][k] b[k][n]
//   row_tile:     c[n]    +=      sum_k a[k] b[k][n]      the product's single row
//   dot_tile:     g[m][s] +=      sum_n x[m][n] y[s][n]   both operands where they lie
//
// panels.h lays out the operands and walks over them. To tune an instruction set, change the
// constants and the order of the loops here.
#pragma once

#include <array>
#include <utility>

#include "vectors.h"

namespace pyneural {

// What must fit into the 32 vector registers of AVX-512 and Neon, or the 16 of AVX2: of a product,
// kTileRows x kTileVectors sums, kTileVectors vectors of b and one element of a; of dots, kDotRows
// x kDotColumns sums, kDotRows vectors of x and one of y.
#if defined(CPU_CAPABILITY_AVX512) || defined(__aarch64__)
constexpr int kTileRows = 6, kTileVectors = 4, kDotRows = 4;
#elif defined(CPU_CAPABILITY_AVX2)
constexpr int kTileRows = 6, kTileVectors = 2, kDotRows = 3;
#else
constexpr int kTileRows = 4, kTileVectors = 1, kDotRows = 2;
#endif
constexpr int kDotColumns = 4;

namespace detail {

// A function for each shape of a tile: that of m x n at [(m - 1) * N + n - 1], from get<m, n>().
template <int M, int N, class Get>
constexpr auto tiles_by_shape(const Get& get) {
  return [&]<int... i>(std::integer_sequence<int, i...>) {
    return std::array{get.template operator()<i / N + 1, i % N + 1>()...};
  }(std::make_integer_sequence<int, M * N>{});
}

// The product is summed before it is added to c, so that a sum over many blocks of the depth keeps
// its digits. One tile for a packed and a strided a: an instantiation with the packed strides, 1
// and M, as constants has as many instructions in its loop and measures the same from depth 20 on.
template <class T, int M, int N>
void product_tile(int64_t depth, const T* __restrict a, int64_t row_stride, int64_t depth_stride,
                  const T* __restrict b, int64_t ldb, T* __restrict c, int64_t ldc,
                  bool accumulate) {
  Register<T> sum[M][N] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Register<T> row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = as_register(b + n * lanes<T>());
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] += a[m * row_stride] * row[n];
    a += depth_stride;
    b += ldb;
  }
  if (accumulate) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] += as_register(c + m * ldc + n * lanes<T>());
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) as_register(c + m * ldc + n * lanes<T>()) = sum[m][n];
}

template <class T>
constexpr auto kProductTiles =
    tiles_by_shape<kTileRows, kTileVectors>([]<int m, int n>() { return &product_tile<T, m, n>; });

// One row times P panels side by side, b [P][depth][kTileVectors vectors], of which N vectors
// count: c [P][kTileVectors vectors]. S sums an element, each of every S-th k, so that there are
// enough independent ones to hide a multiply-add's latency.
template <class T, int P, int N>
void row_tile(int64_t depth, const T* __restrict a, const T* __restrict b, T* __restrict c) {
  constexpr int S = P * N >= 8 ? 1 : 8 / (P * N);
  constexpr int64_t kWidth = kTileVectors * lanes<T>();
  Register<T> sum[S][P][N] = {};
  const auto add = [&](int s, int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n)
        sum[s][p][n] += a[k] * as_register(b + (p * depth + k) * kWidth + n * lanes<T>());
  };
  int64_t k = 0;
  for (; k + S <= depth; k += S)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) add(s, k + s);
  for (; k < depth; ++k) add(0, k);
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      Register<T> total = sum[0][p][n];
#pragma GCC unroll 8
      for (int s = 1; s < S; ++s) total += sum[s][p][n];
      as_register(c + p * kWidth + n * lanes<T>()) += total;
    }
}

template <class T, int P>
constexpr auto kRowTiles =
    tiles_by_shape<1, kTileVectors>([]<int, int n>() { return &row_tile<T, P, n>; });

// A vector of y serves all rows of x, whose vectors stay in registers. In the other order GCC reads
// those of y again for each row of x, and the loads take longer than the multiply-adds.
template <class T, int M, int N>
void dot_tile(int64_t vectors, const T* __restrict x, int64_t ldx, const T* __restrict y,
              int64_t ldy, T* __restrict g, int64_t ldg) {
  Register<T> sum[M][kDotColumns] = {};
  for (int64_t v = 0; v < vectors; ++v) {
    Register<T> factor[M];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) factor[m] = as_register(x + m * ldx);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const Register<T> row = as_register(y + n * ldy);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) sum[m][n] += factor[m] * row;
    }
    x += lanes<T>();
    y += lanes<T>();
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    if constexpr (N == kDotColumns) {
      add_lane_sums<T>(sum[m], g + m * ldg);
    } else {
      T sums[kDotColumns] = {};
      add_lane_sums<T>(sum[m], sums);
      for (int n = 0; n < N; ++n) g[m * ldg + n] += sums[n];
    }
  }
}

template <class T>
constexpr auto kDotTiles =
    tiles_by_shape<kDotRows, kDotColumns>([]<int m, int n>() { return &dot_tile<T, m, n>; });

}  // namespace detail
}  // namespace pyneural
