// The matrix product of one block of threads, the inner loop of the CUDA kernels.
//
//   store(m, n, sum_k a(k, m) b(k, n))   for m < M, n < N, 0 <= k < depth
//
// a and b are functions, so that one product serves a layer's forward, its input gradient and its
// weight gradient, wherever the operands lie and however they are transposed. Chunks of both go
// through shared memory; each thread keeps a 4 x 4 tile in registers: 8 shared loads, vectorised to
// 2, for 16 multiply-adds. A warp's threads share their rows of a (a broadcast) and read b side by
// side, so no bank is asked twice. Plain FMA units, in T: no TF32.
#pragma once

#include <cstdint>

namespace pyneural {

constexpr int kThreads = 256;
constexpr int kTileM = 32, kTileN = 128, kTileK = 16;

template <class T>
struct ProductStage {
  alignas(16) T a[kTileK][kTileM + 4];  // the padding keeps rows 16-byte aligned and
  alignas(16) T b[kTileK][kTileN + 4];  // transposed stores off a single bank
};

// Whether neighbouring elements of the operand along k, rather than along m or n, are neighbours in
// memory: then neighbouring threads load along k.
enum class Along { k, row };

template <Along along, int kRows, class T, int kStride, class Load>
__device__ inline void stage_operand(T (&to)[kTileK][kStride], int64_t k0, int64_t depth,
                                     int64_t row0, int64_t rows, const Load& load) {
  for (int i = threadIdx.x; i < kTileK * kRows; i += kThreads) {
    const int k = along == Along::k ? i % kTileK : i / kRows;
    const int row = along == Along::k ? i / kTileK : i % kRows;
    to[k][row] = k0 + k < depth && row0 + row < rows ? load(k0 + k, row0 + row) : T(0);
  }
}

// All threads of the block call it; ends with a barrier. use(m, n, count, sums): of row m the
// columns n to n + count, count <= 4.
template <Along along_a, Along along_b, class T, class LoadA, class LoadB, class Use>
__device__ void block_product_in_fours(int64_t rows, int64_t columns, int64_t depth,
                                       ProductStage<T>& stage, const LoadA& a, const LoadB& b,
                                       const Use& use) {
  const int m0 = static_cast<int>(threadIdx.x) / 32 * 4,
            n0 = static_cast<int>(threadIdx.x) % 32 * 4;
  for (int64_t row = 0; row < rows; row += kTileM)
    for (int64_t column = 0; column < columns; column += kTileN) {
      T sum[4][4] = {};
      for (int64_t k0 = 0; k0 < depth; k0 += kTileK) {
        stage_operand<along_a, kTileM>(stage.a, k0, depth, row, rows, a);
        stage_operand<along_b, kTileN>(stage.b, k0, depth, column, columns, b);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < kTileK; ++k) {
          T left[4], right[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) left[i] = stage.a[k][m0 + i];
#pragma unroll
          for (int i = 0; i < 4; ++i) right[i] = stage.b[k][n0 + i];
#pragma unroll
          for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] += left[i] * right[j];
        }
        __syncthreads();
      }
      const int64_t left = columns - column - n0;
      const int count = left < 4 ? static_cast<int>(left) : 4;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (row + m0 + i < rows && count > 0) use(row + m0 + i, column + n0, count, sum[i]);
    }
  __syncthreads();
}

// The same with store(m, n, sum) of each element.
template <Along along_a, Along along_b, class T, class LoadA, class LoadB, class Store>
__device__ void block_product(int64_t rows, int64_t columns, int64_t depth, ProductStage<T>& stage,
                              const LoadA& a, const LoadB& b, const Store& store) {
  block_product_in_fours<along_a, along_b, T>(
      rows, columns, depth, stage, a, b, [&](int64_t m, int64_t n, int count, const T(&sums)[4]) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (j < count) store(m, n + j, sums[j]);
      });
}

}  // namespace pyneural
