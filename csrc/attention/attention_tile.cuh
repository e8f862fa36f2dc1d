// Tiles of an attention in shared memory, and their products.
//
// A block of threads owns kRows rows, 16 a warp: queries, or keys in the backward of these. The
// rows of the other kind pass by, kColumns at a time. Of each row kWidth numbers are in shared
// memory: all of them where they are no more, and the tiles of the next columns come while these
// are multiplied; else chunk by chunk, brought again for every tile.
#pragma once

#include "../common/async_copy.cuh"
#include "../common/elements.cuh"
#include "../common/fragments.cuh"
#include "../common/grid.cuh"
#include "attention_cuda.h"

namespace pyneural::attention {

template <class T_, int width, int columns, int warps>
struct Shape {
  using T = T_;
  using Fragment = Fragments<T>;
  using Sum = typename Fragment::Sum;
  static constexpr int kWidth = width, kColumns = columns, kRows = 16 * warps;
  static constexpr int kThreads = 32 * warps, kStride = width + Fragment::kPadding;
  static constexpr int kRowElements = kRows * kStride, kColumnElements = kColumns * kStride;
  using Scores = Sum[kColumns / 8][4];  // of a warp's rows and all columns
  using Totals = Sum[kWidth / 8][4];    // of a warp's rows and kWidth numbers
};

extern __shared__ __align__(16) unsigned char shared_memory[];

__device__ inline int warp_of_block() { return static_cast<int>(threadIdx.x) / 32; }

// Of element q of a fragment of sums: its row in the block's tile, its column among the eight.
__device__ inline int row_of(int q) {
  return warp_of_block() * 16 + lane_of_warp() / 4 + q / 2 * 8;
}
__device__ inline int column_of(int q) { return lane_of_warp() % 4 * 2 + q % 2; }

__device__ inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The rows of one head.
template <class T>
struct Matrix {
  const T* data;
  int64_t stride, rows, columns;
  bool whole_vectors;  // whether its rows are aligned as the copies want them

  __device__ Matrix(const Rows<const T>& of, int64_t n, int64_t h, int64_t rows, int64_t columns)
      : data(of.data + n * of.batch_stride + h * of.head_stride),
        stride(of.row_stride),
        rows(rows),
        columns(columns),
        whole_vectors(reinterpret_cast<uintptr_t>(data) % kCopyBytes == 0 &&
                      stride * static_cast<int64_t>(sizeof(T)) % kCopyBytes == 0) {}
};

// Starts the copies of `rows` rows from `row` on, kWidth numbers from `column` on, and 0 beyond the
// end. Numbers that no product reads are left out.
template <class S, int rows, class T>
__device__ void bring(T* to, const Matrix<T>& from, int64_t row, int64_t column) {
  constexpr int kSize = kCopyBytes / static_cast<int>(sizeof(T)), kVectors = S::kWidth / kSize;
  const int64_t staged = tiles_of(from.columns - column, 16) * 16;
  for (int i = static_cast<int>(threadIdx.x); i < rows * kVectors; i += S::kThreads) {
    const int r = i / kVectors, c = i % kVectors * kSize;
    if (c >= staged) continue;
    T* const at = to + r * S::kStride + c;
    const int64_t left = row + r < from.rows ? from.columns - column - c : 0;
    const int count = static_cast<int>(left < 0 ? 0 : smaller(left, kSize));
    const T* const first = from.data + (row + r) * from.stride + column + c;
    if (from.whole_vectors) {
      copy_async(at, count > 0 ? first : from.data, count * static_cast<int>(sizeof(T)));
    } else {
      for (int e = 0; e < kSize; ++e) at[e] = e < count ? first[e] : T{};
    }
  }
}

// Brings a tile at once, all threads together.
template <class S, int rows, class T>
__device__ void bring_now(T* to, const Matrix<T>& from, int64_t row, int64_t column) {
  __syncthreads();
  bring<S, rows>(to, from, row, column);
  commit_copies();
  wait_copies<0>();
  __syncthreads();
}

// scores += a b^T over the first `used` numbers of the rows in shared memory.
template <class S>
__device__ void add_scores(typename S::Scores& scores, const typename S::T* a,
                           const typename S::T* b, int64_t used) {
  using Fragment = typename S::Fragment;
  const auto* const own = a + warp_of_block() * 16 * S::kStride;
  PYNEURAL_UNROLL
  for (int k = 0; k < S::kWidth; k += Fragment::kStep)
    if (k < used) {
      const auto left = Fragment::load_a(own + k, S::kStride);
      PYNEURAL_UNROLL
      for (int j = 0; j < S::kColumns / 8; j += 2) {
        const auto right = Fragment::load_b(b + j * 8 * S::kStride + k, S::kStride);
        Fragment::multiply(scores[j], left, right, 0);
        Fragment::multiply(scores[j + 1], left, right, 1);
      }
    }
}

// scores = a b^T of whole rows: a and b hold the first chunk of rows that are one chunk, and are
// overwritten by the chunks of longer ones.
template <class S, class T>
__device__ void score(typename S::Scores& scores, T* a, const Matrix<T>& of_a, int64_t row_a, T* b,
                      const Matrix<T>& of_b, int64_t row_b) {
  for (auto& fragment : scores)
    for (auto& sum : fragment) sum = 0;
  for (int64_t first = 0; first < of_a.columns; first += S::kWidth) {
    if (of_a.columns > S::kWidth) {
      bring_now<S, S::kRows>(a, of_a, row_a, first);
      bring_now<S, S::kColumns>(b, of_b, row_b, first);
    }
    add_scores<S>(scores, a, b, of_a.columns - first);
  }
}

// totals[n], totals[n + 1] += the weights times b, of kColumns rows, in the columns 8 n and on.
template <class S>
__device__ void add_weighted(typename S::Sum (*totals)[4], const typename S::Scores& weights,
                             const typename S::T* b, int n) {
  using Fragment = typename S::Fragment;
  PYNEURAL_UNROLL
  for (int k = 0; k < S::kColumns; k += Fragment::kStep) {
    const auto left = Fragment::from_sums(weights + k / 8);
    const auto right = Fragment::load_b_along_n(b + k * S::kStride + n * 8, S::kStride);
    Fragment::multiply(totals[0], left, right, 0);
    Fragment::multiply(totals[1], left, right, 1);
  }
}

// The same of the first `used` columns.
template <class S>
__device__ void add_weighted_rows(typename S::Totals& totals, const typename S::Scores& weights,
                                  const typename S::T* b, int64_t used) {
  PYNEURAL_UNROLL
  for (int n = 0; n < S::kWidth / 8; n += 2)
    if (n * 8 < used) add_weighted<S>(totals + n, weights, b, n);
}

// Stores factor(q) times the totals of the block's rows, from `row` and `column` on.
template <class S, class T, class Factor>
__device__ void store_totals(const typename S::Totals& totals, const Rows<T>& to, int64_t n,
                             int64_t h, int64_t row, int64_t rows, int64_t column, int64_t columns,
                             const Factor& factor) {
  T* const data = to.data + n * to.batch_stride + h * to.head_stride;
  PYNEURAL_UNROLL
  for (int j = 0; j < S::kWidth / 8; ++j) PYNEURAL_UNROLL
  for (int q = 0; q < 4; ++q) {
    const int64_t r = row + row_of(q), c = column + j * 8 + column_of(q);
    if (r < rows && c < columns) store(totals[j][q] * factor(q), data + r * to.row_stride + c);
  }
}

template <class Params>
cudaError_t launch(void (*kernel)(Params), int64_t blocks, int threads, size_t shared,
                   const Params& params, cudaStream_t stream) {
  if (const cudaError_t error = check_grid(blocks)) return error;
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)))
    return error;
  const auto grid = static_cast<unsigned>(blocks);
  kernel<<<grid, threads, shared, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace pyneural::attention
