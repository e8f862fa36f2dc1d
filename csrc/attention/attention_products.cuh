// The products of an attention's tiles: scores of two tiles of rows, and rows weighted by them.
//
// Computed by warps; on sm_90a, for 2-byte elements, by the warpgroup that a block is.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention {

// scores += a b^T over the first `used` columns of the rows in shared memory.
template <class S>
__device__ void add_scores(typename S::Scores& scores, const typename S::RowTile& a,
                           const typename S::ColumnTile& b, int64_t used) {
  using Fragment = typename S::Fragment;
  if constexpr (S::kByWarpgroup) {
    using Products = warpgroup::Products<typename S::T>;
    PYNEURAL_UNROLL
    for (int panel = 0; panel < S::kWidth; panel += kPanelColumns)
      if (panel < used) {
        warpgroup::begin(scores);
        PYNEURAL_UNROLL
        for (int k = 0; k < kPanelColumns; k += Fragment::kStep)
          Products::multiply(scores, warpgroup::describe(a.at(0, panel), k),
                             warpgroup::describe(b.at(0, panel), k));
        warpgroup::finish(scores);
      }
  } else {
    const int first = warp_of_block() * 16;
    PYNEURAL_UNROLL
    for (int k = 0; k < S::kWidth; k += Fragment::kStep)
      if (k < used) {
        const auto left =
            Fragment::load_a([&](int row, int in_step) { return a.at(first + row, k + in_step); });
        PYNEURAL_UNROLL
        for (int j = 0; j < S::kColumns / 8; j += 2) {
          const auto right = Fragment::load_b(
              [&](int row, int in_step) { return b.at(j * 8 + row, k + in_step); });
          Fragment::multiply(scores[j], left, right, 0);
          Fragment::multiply(scores[j + 1], left, right, 1);
        }
      }
  }
}

// scores = a b^T of whole rows: a and b hold the first chunk of rows that are one chunk, and are
// overwritten by the chunks of longer ones.
template <class S, class T>
__device__ void score(typename S::Scores& scores, typename S::RowTile& a, const Matrix<T>& of_a,
                      int64_t row_a, typename S::ColumnTile& b, const Matrix<T>& of_b,
                      int64_t row_b) {
  for (auto& fragment : scores)
    for (auto& sum : fragment) sum = 0;
  for (int64_t first = 0; first < of_a.columns; first += S::kWidth) {
    if (of_a.columns > S::kWidth) {
      copy_tile<S>(a, of_a, row_a, first);
      copy_tile<S>(b, of_b, row_b, first);
    }
    add_scores<S>(scores, a, b, of_a.columns - first);
  }
}

// totals[0], totals[1] += the weights times b, of kColumns rows, in the columns 8 n and on.
template <class S>
__device__ void add_weighted(typename S::Accumulator (*totals)[4],
                             const typename S::Scores& weights, const typename S::ColumnTile& b,
                             int n) {
  using Fragment = typename S::Fragment;
  PYNEURAL_UNROLL
  for (int k = 0; k < S::kColumns; k += Fragment::kStep) {
    const auto left = Fragment::from_accumulators(weights + k / 8);
    const auto right = Fragment::load_b_along_n(
        [&](int in_step, int column) { return b.at(k + in_step, n * 8 + column); });
    Fragment::multiply(totals[0], left, right, 0);
    Fragment::multiply(totals[1], left, right, 1);
  }
}

// The same of the first `used` columns.
template <class S>
__device__ void add_weighted_rows(typename S::Totals& totals, const typename S::Scores& weights,
                                  const typename S::ColumnTile& b, int64_t used) {
  using Fragment = typename S::Fragment;
  if constexpr (S::kByWarpgroup) {
    using Products = warpgroup::Products<typename S::T>;
    typename Fragment::A left[S::kColumns / Fragment::kStep];
    PYNEURAL_UNROLL
    for (int i = 0; i < S::kColumns / Fragment::kStep; ++i)
      left[i] = Fragment::from_accumulators(weights + i * Fragment::kStep / 8);
    PYNEURAL_UNROLL
    for (int panel = 0; panel < S::kWidth; panel += kPanelColumns)
      if (panel < used) {
        warpgroup::begin(totals);
        PYNEURAL_UNROLL
        for (int k = 0; k < S::kColumns; k += Fragment::kStep)
          Products::multiply_along_n(totals + panel / 8, left[k / Fragment::kStep].words,
                                     warpgroup::describe(b.at(k, panel), 0));
        warpgroup::finish(totals);
      }
  } else {
    PYNEURAL_UNROLL
    for (int n = 0; n < S::kWidth / 8; n += 2)
      if (n * 8 < used) add_weighted<S>(totals + n, weights, b, n);
  }
}

}  // namespace pyneural::attention
