// Blocks with masked keys: a weight of 0 must mask an infinity or NaN, which 0 times it does not.
#pragma once

#include "attention_products.cuh"

namespace pyneural::attention::cuda {

enum class NotFinite { cleared, marked };

// Elements of a tile that are not finite become 0; or they become 1 and all others 0. Returns to
// all threads of the block, after a barrier, whether there were any.
template <class S, NotFinite how>
__device__ bool replace_not_finite(typename S::ColumnTile& tile, int64_t used) {
  bool any = false;
  for (int i = static_cast<int>(threadIdx.x); i < S::kColumns * S::kWidth; i += S::kThreads) {
    const int c = i % S::kWidth;
    if (c >= used) continue;
    auto* const element = tile.at(i / S::kWidth, c);
    const auto value = load(element);
    const bool is_finite = value - value == 0;
    any |= !is_finite;
    if (how == NotFinite::marked)
      store(typename S::Accumulator(is_finite ? 0 : 1), element);
    else if (!is_finite)
      store(typename S::Accumulator(0), element);
  }
  warpgroup::publish();
  return __syncthreads_or(any);
}

// out += p b, with b the tile of rows from `row` on and columns from `column` on: NaN where a
// weight that is not 0 is multiplied with an element that is not finite, and only there.
template <class S, class T>
__device__ void add_product_masked(typename S::Output& out, const typename S::Scores& p,
                                   typename S::ColumnTile& tile, const Matrix<T>& of, int64_t row,
                                   int64_t column) {
  const int64_t used = of.columns - column;
  const bool any = replace_not_finite<S, NotFinite::cleared>(tile, used);
  add_product<S>(out, p, tile, used);
  if (!any) return;
  copy_tile<S>(tile, of, row, column);
  replace_not_finite<S, NotFinite::marked>(tile, used);
  PYNEURAL_UNROLL
  for (int n = 0; n < S::kWidth / 8; n += 2)
    if (n * 8 < used) {
      typename S::Accumulator seen[2][4] = {};
      add_product_of_columns<S>(seen, p, tile, n);
      PYNEURAL_UNROLL
      for (int i = 0; i < 2; ++i) PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q)
        if (seen[i][q] != 0)
          out[n + i][q] = static_cast<typename S::Accumulator>(__builtin_nan(""));
    }
  warpgroup::publish();  // a bulk copy may overwrite what was read
}

}  // namespace pyneural::attention::cuda
