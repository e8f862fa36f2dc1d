// The sums over a tile's rows that a layer's parameter gradients are: a product of few rows and
// columns and a long depth.
//
//   store(m, n, sum_k a(k, m) b(k, n))   for m < rows, n < columns, 0 <= k < depth
//
// block_product computes 32 x 128 elements at a time: of a layer of 20 inputs and outputs a tenth
// is of use. Up to kNarrowColumns a tile is 32 x 32 instead, and the threads share the depth: the
// lanes of a warp have 8 pieces of 4 x 4 elements, each four times, with every fourth k, and add
// them at the end. A warp reads 4 rows of a at 16 bytes each and 4 whole rows of b: 32 banks.
#pragma once

#include "activation.h"
#include "matmul.cuh"

namespace pyneural {

constexpr int kNarrowColumns = 64, kNarrowTile = 32;

template <class T>
struct NarrowStage {
  alignas(16) T a[kNarrowTile][kNarrowTile + 4];  // [k][m]
  alignas(16) T b[kNarrowTile][kNarrowTile + 4];  // [k][n]
};

template <Along along, class T, class Load>
__device__ inline void stage_narrow(T (&to)[kNarrowTile][kNarrowTile + 4], int k0, int depth,
                                    int row0, int rows, const Load& load) {
  for (int i = static_cast<int>(threadIdx.x); i < kNarrowTile * kNarrowTile; i += kThreads) {
    const int k = along == Along::k ? i % kNarrowTile : i / kNarrowTile;
    const int row = along == Along::k ? i / kNarrowTile : i % kNarrowTile;
    to[k][row] = k0 + k < depth && row0 + row < rows ? load(k0 + k, row0 + row) : T(0);
  }
}

// Over the lanes of a warp that differ in the bits from `first` on; all get the same sum.
template <class T>
__device__ inline T sum_of_lanes(T value, int first) {
  for (int other = 16; other >= first; other /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, other);
  return value;
}

template <Along along_a, Along along_b, class T, class LoadA, class LoadB, class Store>
__device__ void narrow_product(int rows, int columns, int depth, ProductStage<T>& memory,
                               const LoadA& a, const LoadB& b, const Store& store) {
  static_assert(sizeof(NarrowStage<T>) <= sizeof(ProductStage<T>));
  NarrowStage<T>& stage = reinterpret_cast<NarrowStage<T>&>(memory);
  constexpr int kSlices = 4;
  const int lane = static_cast<int>(threadIdx.x) % 32, slice = lane / 8;
  const int m0 = static_cast<int>(threadIdx.x) / 32 * 4, n0 = lane % 8 * 4;
  for (int row = 0; row < rows; row += kNarrowTile)
    for (int column = 0; column < columns; column += kNarrowTile) {
      T sum[4][4] = {};
      for (int k0 = 0; k0 < depth; k0 += kNarrowTile) {
        stage_narrow<along_a>(stage.a, k0, depth, row, rows, a);
        stage_narrow<along_b>(stage.b, k0, depth, column, columns, b);
        __syncthreads();
        PYNEURAL_UNROLL
        for (int k = 0; k < kNarrowTile; k += kSlices) {
          T left[4], right[4];
          PYNEURAL_UNROLL
          for (int i = 0; i < 4; ++i) left[i] = stage.a[k + slice][m0 + i];
          PYNEURAL_UNROLL
          for (int i = 0; i < 4; ++i) right[i] = stage.b[k + slice][n0 + i];
          PYNEURAL_UNROLL
          for (int i = 0; i < 4; ++i) PYNEURAL_UNROLL
          for (int j = 0; j < 4; ++j) sum[i][j] += left[i] * right[j];
        }
        __syncthreads();
      }
      PYNEURAL_UNROLL
      for (int i = 0; i < 4; ++i) PYNEURAL_UNROLL
      for (int j = 0; j < 4; ++j) {
        const T total = sum_of_lanes(sum[i][j], 8);
        if (i == slice && row + m0 + i < rows && column + n0 + j < columns)
          store(row + m0 + i, column + n0 + j, total);
      }
    }
}

// All threads of the block call it. When a thread has returned, the stage is free; what others
// store is there after a barrier.
template <Along along_a, Along along_b, class T, class LoadA, class LoadB, class Store>
__device__ void gradient_product(int rows, int columns, int depth, ProductStage<T>& stage,
                                 const LoadA& a, const LoadB& b, const Store& store) {
  if (columns <= kNarrowColumns)
    narrow_product<along_a, along_b, T>(rows, columns, depth, stage, a, b, store);
  else
    block_product<along_a, along_b, T>(rows, columns, depth, stage, a, b, store);
}

// to[row] += sum_k a(k, row): a warp takes a row, its lanes neighbouring k.
template <class T, class Load>
__device__ void add_row_sums(int rows, int depth, const Load& a, T* to) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int row0 = 0; row0 < rows; row0 += kThreads / 32) {
    const int row = row0 + warp;
    T sum = T(0);
    for (int k = lane; k < depth && row < rows; k += 32) sum += a(k, row);
    sum = sum_of_lanes(sum, 1);
    if (lane == 0 && row < rows) to[row] += sum;
  }
}

}  // namespace pyneural
