// A block's tile of queries and what it computes with them: the set-up of the forward kernel and of
// the kernel of the queries' gradient.
#pragma once

#include "attention_mask.cuh"
#include "attention_pipeline.cuh"

namespace pyneural::attention::cuda {

// Panels of kWidth columns of a result; at least one, for the other results of its block.
template <class S>
__host__ __device__ int64_t panels_of(int64_t width) {
  const int64_t panels = tiles_of(width, S::kWidth);
  return panels > 1 ? panels : 1;
}

// The tile has rows [row, row + kRows) of head h of batch n; the block computes columns
// [column, column + kWidth) of their result.
template <class S>
struct QueryTile {
  using T = typename S::T;
  using Accumulator = typename S::Accumulator;

  int64_t n, h, row, column;
  Matrix<T> q, k, v;
  Mask<T> mask;
  int64_t first_score;  // the row of the first query among all N H L
  int64_t end;          // of the keys that the tile sees

  // width: of a row of the result.
  __device__ QueryTile(const AttentionParams<T>& params, const TileMaps& maps, int64_t width)
      : QueryTile(params, maps, tiles_of(params.queries, S::kRows), panels_of<S>(width)) {}

  __device__ ColumnBlock keys_from(int64_t first) const {
    return next_block(first, end, S::kColumns, [&](int64_t key) {
      return mask.template block_mask<S::kThreads>(row, S::kRows, key, S::kColumns);
    });
  }
  __device__ ColumnBlock keys_after(const ColumnBlock& keys) const {
    return keys_from(keys.first + S::kColumns);
  }

  // The score, in units of log2, of a product q k: element (j, e) of a fragment.
  __device__ Accumulator score(Accumulator product, const ColumnBlock& keys, int j, int e) const {
    return keys.block_mask == BlockMask::full
               ? mask.score(product)
               : mask.score(product, row + row_of(e), keys.first + j * 8 + column_of(e));
  }

 private:
  __device__ QueryTile(const AttentionParams<T>& params, const TileMaps& maps, int64_t tiles,
                       int64_t panels)
      : n(blockIdx.x / panels / tiles / params.heads),
        h(blockIdx.x / panels / tiles % params.heads),
        row((tiles - 1 - blockIdx.x / panels % tiles) * S::kRows),  // causal: most keys first
        column(blockIdx.x % panels * S::kWidth),
        q(params.q, maps.q, n, h, params.queries, params.width),
        k(params.k, maps.k, n, h / params.group, params.keys, params.width),
        v(params.v, maps.v, n, h / params.group, params.keys, params.value_width),
        mask(params, n, h),
        first_score((n * params.heads + h) * params.queries + row),
        end(params.is_causal ? min(params.keys, row + S::kRows) : params.keys) {}
};

}  // namespace pyneural::attention::cuda
