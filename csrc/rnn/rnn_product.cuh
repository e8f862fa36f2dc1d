// The product of a block in one step of a recurrence.
//
//   sums [slices][tile_rows][columns],  sum_k weight(k, column) value(k, row) of a slice of the k
//
// There are as many row items as the group has rows. Threads or warps that are left over share the
// k among them, and whoever needs a sum adds its slices in order: the same bits on every run.
#pragma once

#include <type_traits>

#include "../common/fragments.cuh"
#include "rnn_division.h"

namespace pyneural::rnn {

extern __shared__ __align__(16) unsigned char shared_memory[];

// Elements that are read or written at a time.
template <class T, int count>
struct alignas(sizeof(T) * count < 16 ? sizeof(T) * count : 16) Together {
  T of[count];
};

// A product of values k0 .. k0 + ks in shared memory; where they and the sums begin, in bytes. The
// values of the first k0 write the sums, later ones add to them.
struct Product {
  int k0, ks, columns, tile_rows, slices, value_stride, sum_stride;
  int values, sums;
};

// Adds to what is there, unless these are the first k.
template <class S, int count>
__device__ inline void put_sums(const Product& p, S* to, const Together<S, count>& sums) {
  Together<S, count> four = sums;
  if (p.k0 > 0) {
    const auto before = *reinterpret_cast<const Together<S, count>*>(to);
    PYNEURAL_UNROLL
    for (int j = 0; j < count; ++j) four.of[j] = before.of[j] + sums.of[j];
  }
  *reinterpret_cast<Together<S, count>*>(to) = four;
}

// Weights [depth][columns] and values [depth][value_stride]. A thread keeps 4 columns of 4 or 8
// rows in registers: for one k it reads 16 bytes of weights, beside those of its neighbours, and 4
// or 8 values that are the same for them, and does 16 or 32 multiply-adds. Slices take the k by
// turns, so that those of a warp read lines beside each other.
template <class T>
struct ThreadProduct {
  __device__ static int64_t weight_place(int k, int column, int columns) {
    return int64_t{k} * columns + column;
  }
  __device__ static int value_place(int k, int row, const Division& d) {
    return k * d.value_stride + row;
  }

  // Calls, which all cells share, rather than a copy in each kernel: the compiler has an eighth to
  // do. Weights in global memory, or at the start of the shared memory.
  template <bool in_shared, int rows>
  [[gnu::noinline]] __device__ static void multiply(Product p, const T* in_global) {
    using Four = Together<T, 4>;
    T* const shared = reinterpret_cast<T*>(shared_memory);
    const T* const values = reinterpret_cast<const T*>(shared_memory + p.values);
    T* const sums = reinterpret_cast<T*>(shared_memory + p.sums);
    const int across = p.columns / kThreadColumns, tiles = across * (p.tile_rows / rows);
    for (int item = static_cast<int>(threadIdx.x); item < tiles * p.slices; item += kThreads) {
      const int slice = item / tiles, column = item % across * kThreadColumns,
                row = item % tiles / across * rows;
      const T* const weights = (in_shared ? shared : in_global) + p.k0 * p.columns + column;
      T total[rows][4] = {};
#pragma unroll 4
      for (int k = slice; k < p.ks; k += p.slices) {
        const Four left = *reinterpret_cast<const Four*>(weights + k * p.columns);
        PYNEURAL_UNROLL
        for (int r = 0; r < rows; r += 4) {
          const Four right = *reinterpret_cast<const Four*>(values + k * p.value_stride + row + r);
          PYNEURAL_UNROLL
          for (int i = 0; i < 4; ++i) PYNEURAL_UNROLL
          for (int j = 0; j < 4; ++j) total[r + i][j] += right.of[i] * left.of[j];
        }
      }
      PYNEURAL_UNROLL
      for (int r = 0; r < rows; ++r)
        put_sums<T, 4>(p, sums + (slice * p.tile_rows + row + r) * p.sum_stride + column,
                       {{total[r][0], total[r][1], total[r][2], total[r][3]}});
    }
  }

  template <bool in_shared>
  __device__ static void multiply(int item_rows, const Product& p, const T* weights) {
    if (item_rows == 8)
      multiply<in_shared, 8>(p, weights);
    else
      multiply<in_shared, 4>(p, weights);
  }
};

// The same for halves by tensor cores,
//
//   sums^T [16 columns, 8 rows] += weights^T [16 columns, 16 k] values [16 k, 8 rows],
//
// each operand in the order in which the lanes hold it: a warp reads 512 bytes of weights or 256 of
// values beside each other. A warp keeps 2 x 1 to 2 x 4 such sums, and reads its weights once for
// all its rows. Rows are in an order by which neither they that a warp writes at a time, 4 rows of
// 16 units, nor their sums meet in a bank.
template <class T>
struct CoreProduct {
  using Core = Fragments<T>;
  static constexpr int kWeights = kCoreColumns * kCoreDepth, kValues = kCoreRows * kCoreDepth;

  // A row's place among 8, and the row of a place.
  __device__ static int swap_upper(int row) { return row ^ row / 4; }

  // [k / 16][column / 16][lane][4 words]; a lane's words are of two neighbouring columns.
  __device__ static int64_t weight_place(int k, int column, int columns) {
    const int64_t tile = int64_t{k / kCoreDepth} * (columns / kCoreColumns) + column / kCoreColumns;
    const int lane = column % kCoreColumns / 2 * 4 + k % 8 / 2,
              word = column % 2 + k % kCoreDepth / 8 * 2;
    return tile * kWeights + lane * 8 + word * 2 + k % 2;
  }
  // [k / 16][row / 8][lane][2 words]
  __device__ static int value_place(int k, int row, const Division& d) {
    const int tile = k / kCoreDepth * (d.tile_rows / kCoreRows) + row / kCoreRows;
    const int lane = swap_upper(row % kCoreRows) * 4 + k % 8 / 2, word = k % kCoreDepth / 8;
    return tile * kValues + lane * 4 + word * 2 + k % 2;
  }

  template <bool in_shared, int core_rows>
  [[gnu::noinline]] __device__ static void multiply(Product p, const T* in_global) {
    using A = Together<uint32_t, 4>;
    using B = Together<uint32_t, 2>;
    const int lane = lane_of_warp(), column_tiles = p.columns / kCoreColumns,
              row_tiles = p.tile_rows / kCoreRows,
              across = static_cast<int>(tiles_of(column_tiles, 2)),
              items = across * (row_tiles / core_rows), depth = p.ks / kCoreDepth;
    constexpr int kUnrolled = core_rows > 2 ? 2 : 4;  // more would take more registers than help
    float* const sums = reinterpret_cast<float*>(shared_memory + p.sums);
    for (int item = static_cast<int>(threadIdx.x) / 32; item < items * p.slices; item += kWarps) {
      const int slice = item / items, column_tile = item % across * 2,
                row_tile = item % items / across * core_rows;
      const bool two = column_tile + 1 < column_tiles;
      const int end = (slice + 1) * depth / p.slices;
      const T* const first = (in_shared ? reinterpret_cast<const T*>(shared_memory) : in_global) +
                             (p.k0 / kCoreDepth * column_tiles + column_tile) * kWeights;
      const auto* const weights = reinterpret_cast<const A*>(first) + lane;
      const auto* const values =
          reinterpret_cast<const B*>(shared_memory + p.values) + row_tile * 32 + lane;
      float total[2][core_rows][4] = {};
#pragma unroll kUnrolled
      for (int k = slice * depth / p.slices; k < end; ++k) {
        A a[2];
        B b[core_rows];
        a[0] = weights[k * column_tiles * 32];
        if (two) a[1] = weights[k * column_tiles * 32 + 32];
        PYNEURAL_UNROLL
        for (int r = 0; r < core_rows; ++r) b[r] = values[(k * row_tiles + r) * 32];
        PYNEURAL_UNROLL
        for (int r = 0; r < core_rows; ++r) Core::multiply(total[0][r], a[0].of, b[r].of);
        if (two) PYNEURAL_UNROLL
        for (int r = 0; r < core_rows; ++r) Core::multiply(total[1][r], a[1].of, b[r].of);
      }
      const auto put = [&](int j) {
        PYNEURAL_UNROLL
        for (int r = 0; r < core_rows; ++r) PYNEURAL_UNROLL
        for (int i = 0; i < 2; ++i) {
          const int row = (row_tile + r) * kCoreRows + swap_upper(lane % 4 * 2 + i),
                    column = (column_tile + j) * kCoreColumns + lane / 4 * 2;
          put_sums<float, 2>(p, sums + (slice * p.tile_rows + row) * p.sum_stride + column,
                             {{total[j][r][i], total[j][r][2 + i]}});
        }
      };
      put(0);
      if (two) put(1);
    }
  }

  template <bool in_shared>
  __device__ static void multiply(int item_rows, const Product& p, const T* weights) {
    switch (item_rows / kCoreRows) {
      case 1:
        return multiply<in_shared, 1>(p, weights);
      case 2:
        return multiply<in_shared, 2>(p, weights);
      case 3:
        return multiply<in_shared, 3>(p, weights);
      default:
        return multiply<in_shared, 4>(p, weights);
    }
  }
};

template <class T>
using ProductOf = std::conditional_t<sizeof(T) == 2, CoreProduct<T>, ThreadProduct<T>>;

}  // namespace pyneural::rnn
