// Tiles of an attention in shared memory.
//
// A block of threads owns kRows rows, 16 a warp: queries, or keys in the backward of these. The
// rows of the other kind pass by, kColumns at a time. Of each row kWidth elements are in shared
// memory: the whole row if it is not wider, and the next tile is copied while this one is
// multiplied; otherwise chunk by chunk, copied again for every tile.
#pragma once

#include "../common/async_copy.cuh"
#include "../common/bulk_copy.cuh"
#include "../common/elements.cuh"
#include "../common/fragments.cuh"
#include "../common/launch.cuh"
#include "../common/tile_layout.cuh"
#include "attention_cuda.h"

namespace pyneural::attention::cuda {

template <class T, int rows, int width>
struct Tile {
  using Layout = TileLayout<T, rows, width>;
  alignas(Layout::kAlignment) T elements[Layout::kSize];

  __device__ T* at(int row, int column) { return elements + Layout::at(row, column); }
  __device__ const T* at(int row, int column) const { return elements + Layout::at(row, column); }
};

template <class T_, int width, int columns, int warps>
struct Shape {
  using T = T_;
  using Fragment = Fragments<T>;
  using Accumulator = typename Fragment::Accumulator;
  static constexpr int kWidth = width, kColumns = columns, kRows = 16 * warps;
  static constexpr int kThreads = 32 * warps;
  static constexpr bool kByWarpgroup = TileLayout<T, kRows, width>::kInPanels;
  static_assert(!kByWarpgroup || warps == 4);
  using RowTile = Tile<T, kRows, kWidth>;
  using ColumnTile = Tile<T, kColumns, kWidth>;
  using Scores = Accumulator[kColumns / 8][4];  // of a warp's rows and all columns
  using Output = Accumulator[kWidth / 8][4];    // of a warp's rows and kWidth columns
};

extern __shared__ __align__(1024) unsigned char shared_memory[];

__device__ inline int warp_of_block() { return static_cast<int>(threadIdx.x) / 32; }

// Of element q of an accumulator fragment: its row in the block's tile, its column among the eight.
__device__ inline int row_of(int q) {
  return warp_of_block() * 16 + lane_of_warp() / 4 + q / 2 * 8;
}
__device__ inline int column_of(int q) { return lane_of_warp() % 4 * 2 + q % 2; }

__device__ inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

// The tensors of a kernel's tiles, as bulk copies address them: a panel of a tile at a time.
struct TileMaps {
  CUtensorMap q, k, v, grad_out;
  bool are_given = false;  // all that the kernel reads; otherwise its threads copy
};

// The rows of one head.
template <class T>
struct Matrix {
  const T* data;
  int64_t stride, rows, columns;
  bool whole_vectors;  // whether its rows are aligned to the copies of single threads
  const CUtensorMap* map;
  int batch, head;  // coordinates in the map

  __device__ Matrix(const Rows<const T>& of, const CUtensorMap& map, int64_t n, int64_t h,
                    int64_t rows, int64_t columns)
      : data(of.data + n * of.batch_stride + h * of.head_stride),
        stride(of.row_stride),
        rows(rows),
        columns(columns),
        whole_vectors(reinterpret_cast<uintptr_t>(data) % kCopyBytes == 0 &&
                      stride * static_cast<int64_t>(sizeof(T)) % kCopyBytes == 0),
        map(&map),
        batch(static_cast<int>(n)),
        head(static_cast<int>(h)) {}
};

// Starts the copy of a tile's rows from `row` on, kWidth columns from `column` on, 0 beyond the
// end. Elements that no product reads are left out.
template <class S, class T, int rows, int width>
__device__ void copy_tile_async(Tile<T, rows, width>& to, const Matrix<T>& from, int64_t row,
                                int64_t column) {
  constexpr int kSize = kCopyBytes / static_cast<int>(sizeof(T)), kVectors = width / kSize;
  constexpr int kUnit = TileLayout<T, rows, width>::kInPanels ? kPanelColumns : 16;
  const int64_t staged = tiles_of(from.columns - column, kUnit) * kUnit;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kVectors; i += S::kThreads) {
    const int r = i / kVectors, c = i % kVectors * kSize;
    if (c >= staged) continue;
    T* const at = to.at(r, c);
    const int64_t left = row + r < from.rows ? from.columns - column - c : 0;
    const int count = static_cast<int>(left < 0 ? 0 : min(left, kSize));
    const T* const first = from.data + (row + r) * from.stride + column + c;
    if (from.whole_vectors) {
      copy_async(at, count > 0 ? first : from.data, count * static_cast<int>(sizeof(T)));
    } else {
      for (int e = 0; e < kSize; ++e) at[e] = e < count ? first[e] : T{};
    }
  }
}

// Waits for the copies of all threads.
__device__ inline void wait_all_threads() {
  wait_copies<0>();
  warpgroup::publish();
  __syncthreads();
}

// Copies a tile and waits for it, all threads together.
template <class S, class Tile, class T>
__device__ void copy_tile(Tile& to, const Matrix<T>& from, int64_t row, int64_t column) {
  __syncthreads();
  copy_tile_async<S>(to, from, row, column);
  commit_copies();
  wait_all_threads();
}

// Stores factor(q) times the output of the block's rows, from `row` and `column` on.
template <class S, class T, class Factor>
__device__ void store_output(const typename S::Output& out, const Rows<T>& to, int64_t n, int64_t h,
                             int64_t row, int64_t rows, int64_t column, int64_t columns,
                             const Factor& factor) {
  T* const data = to.data + n * to.batch_stride + h * to.head_stride;
  PYNEURAL_UNROLL
  for (int j = 0; j < S::kWidth / 8; ++j) PYNEURAL_UNROLL
  for (int q = 0; q < 4; ++q) {
    const int64_t r = row + row_of(q), c = column + j * 8 + column_of(q);
    if (r < rows && c < columns) store(out[j][q] * factor(q), data + r * to.row_stride + c);
  }
}

// The rows of one part of a result in scratch, [parts, batch, heads, rows, columns].
template <class Accumulator>
__device__ Rows<Accumulator> rows_of_part(Accumulator* scratch, int64_t part, int64_t batch,
                                          int64_t heads, int64_t rows, int64_t columns) {
  const int64_t of_head = rows * columns, of_batch = heads * of_head;
  return {scratch + part * batch * of_batch, of_batch, of_head, columns};
}

}  // namespace pyneural::attention::cuda
