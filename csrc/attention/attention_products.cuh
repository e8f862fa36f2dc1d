// The matrix products of tiles: s = a b^T, and out += p b.
//
// Computed by warps; on sm_90a, for 2-byte elements, by the warpgroup that a block is.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention::cuda {

// Calls compute(panels) with as many panels of a tile's columns as hold the first `used`, known
// when compiling: a branch between the products of a warpgroup would make each wait for the one
// before.
template <class S, int panels = S::kWidth / kPanelColumns, class Compute>
__device__ void with_panels(int64_t used, const Compute& compute) {
  if constexpr (panels > 0) {
    if (used > (panels - 1) * kPanelColumns)
      compute(std::integral_constant<int, panels>{});
    else
      with_panels<S, panels - 1>(used, compute);
  }
}

// s += a b^T over the first `used` columns of the rows in shared memory.
template <class S>
__device__ void add_product_transposed(typename S::Scores& s, const typename S::RowTile& a,
                                       const typename S::ColumnTile& b, int64_t used) {
  using Fragment = typename S::Fragment;
  if constexpr (S::kByWarpgroup) {
    using Products = warpgroup::Products<typename S::T>;
    with_panels<S>(used, [&](auto panels) {
      warpgroup::begin(s);
      PYNEURAL_UNROLL
      for (int panel = 0; panel < panels * kPanelColumns; panel += kPanelColumns) PYNEURAL_UNROLL
      for (int k = 0; k < kPanelColumns; k += Fragment::kStep)
        Products::multiply(s, warpgroup::describe(a.at(0, panel), k),
                           warpgroup::describe(b.at(0, panel), k));
      warpgroup::finish(s);
    });
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
          Fragment::multiply(s[j], left, right, 0);
          Fragment::multiply(s[j + 1], left, right, 1);
        }
      }
  }
}

// s = a b^T for whole rows: tiles a and b hold them if they are one chunk, and are overwritten by
// the chunks of longer rows.
template <class S, class T>
__device__ void multiply_transposed(typename S::Scores& s, typename S::RowTile& a,
                                    const Matrix<T>& of_a, int64_t row_a, typename S::ColumnTile& b,
                                    const Matrix<T>& of_b, int64_t row_b) {
  for (auto& fragment : s)
    for (auto& sum : fragment) sum = 0;
  for (int64_t first = 0; first < of_a.columns; first += S::kWidth) {
    if (of_a.columns > S::kWidth) {
      copy_tile<S>(a, of_a, row_a, first);
      copy_tile<S>(b, of_b, row_b, first);
    }
    add_product_transposed<S>(s, a, b, of_a.columns - first);
  }
  if constexpr (std::is_same_v<T, float>) {
    PYNEURAL_UNROLL
    for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int64_t row = row_a + row_of(e), column = row_b + j * 8 + column_of(e);
      if (s[j][e] != s[j][e] && row < of_a.rows && column < of_b.rows)
        s[j][e] = plain_product(of_a.data + row * of_a.stride, 1, of_b.data + column * of_b.stride,
                                1, of_a.columns);
    }
  }
}

// out[0], out[1] += p b in columns 8 n to 8 n + 15; b has kColumns rows.
template <class S>
__device__ void add_product_of_columns(typename S::Accumulator (*out)[4],
                                       const typename S::Scores& p, const typename S::ColumnTile& b,
                                       int n) {
  using Fragment = typename S::Fragment;
  PYNEURAL_UNROLL
  for (int k = 0; k < S::kColumns; k += Fragment::kStep) {
    const auto left = Fragment::from_accumulators(p + k / 8);
    const auto right = Fragment::load_b_along_n(
        [&](int in_step, int column) { return b.at(k + in_step, n * 8 + column); });
    Fragment::multiply(out[0], left, right, 0);
    Fragment::multiply(out[1], left, right, 1);
  }
}

// out += p b in the first `used` columns.
template <class S>
__device__ void add_product(typename S::Output& out, const typename S::Scores& p,
                            const typename S::ColumnTile& b, int64_t used) {
  using Fragment = typename S::Fragment;
  if constexpr (S::kByWarpgroup) {
    using Products = warpgroup::Products<typename S::T>;
    typename Fragment::A left[S::kColumns / Fragment::kStep];
    PYNEURAL_UNROLL
    for (int i = 0; i < S::kColumns / Fragment::kStep; ++i)
      left[i] = Fragment::from_accumulators(p + i * Fragment::kStep / 8);
    with_panels<S>(used, [&](auto panels) {
      warpgroup::begin(out);
      PYNEURAL_UNROLL
      for (int panel = 0; panel < panels * kPanelColumns; panel += kPanelColumns) PYNEURAL_UNROLL
      for (int k = 0; k < S::kColumns; k += Fragment::kStep)
        Products::multiply_along_n(out + panel / 8, left[k / Fragment::kStep].words,
                                   warpgroup::describe(b.at(k, panel), 0));
      warpgroup::finish(out);
    });
  } else {
    PYNEURAL_UNROLL
    for (int n = 0; n < S::kWidth / 8; n += 2)
      if (n * 8 < used) add_product_of_columns<S>(out + n, p, b, n);
  }
}

}  // namespace pyneural::attention::cuda
