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

// Blocks that compute the results, of rows of `width`, of all tiles of queries for one part of the
// keys.
template <class S>
__host__ __device__ int64_t query_blocks(const AttentionParams<typename S::T>& params,
                                         int64_t width) {
  return params.batch * params.heads * tiles_of(params.queries, S::kRows) * panels_of<S>(width);
}

// Which of them the block computes; not held in registers meanwhile.
template <class S>
__device__ int64_t part_of_block(const AttentionParams<typename S::T>& params, int64_t width) {
  return blockIdx.x / query_blocks<S>(params, width);
}

// The tile has rows [row, row + kRows) of head h of batch n; the block computes columns
// [column, column + kWidth) of their result, from the keys of one part: those that the tile sees
// are divided evenly among the parts, by whole tiles.
template <class S>
struct QueryTile {
  using T = typename S::T;
  using Accumulator = typename S::Accumulator;
  using Masks = MaskBlock<Accumulator, S::kRows, S::kColumns>;

  int64_t n, h, row, column;
  Matrix<T> q, k, v;
  Mask<T> mask;
  int64_t first_score;  // the row of the first query among all N H L
  int64_t begin, end;   // of the keys

  // width: of a row of the result.
  __device__ QueryTile(const AttentionParams<T>& params, const TileMaps& maps, int64_t width)
      : QueryTile(params, maps, part_of_block<S>(params, width),
                  blockIdx.x % query_blocks<S>(params, width), tiles_of(params.queries, S::kRows),
                  panels_of<S>(width)) {}

  // The first block of keys from `first` on that is not empty, with its mask.
  __device__ ColumnBlock keys_from(int64_t first, const Masks& masks) const {
    return next_block(first, end, S::kColumns,
                      [&](int64_t key) { return mask.read(row, key, masks); });
  }

  __device__ bool is_full(const ColumnBlock& keys, const Masks& masks) const {
    return mask.is_full(row, keys.first, masks);
  }

  // Makes products q k to scores in units of log2.
  __device__ void to_scores(typename S::Scores& s, const ColumnBlock& keys,
                            const Masks& masks) const {
    if (is_full(keys, masks)) {
      PYNEURAL_UNROLL
      for (auto& fragment : s) PYNEURAL_UNROLL
      for (Accumulator& score : fragment) score = mask.score(score);
    } else if (mask.adds(masks)) {
      to_scores<true>(s, keys, masks);
    } else {
      to_scores<false>(s, keys, masks);
    }
  }

 private:
  __device__ QueryTile(const AttentionParams<T>& params, const TileMaps& maps, int64_t part,
                       int64_t block, int64_t tiles, int64_t panels)
      : n(block / panels / tiles / params.heads),
        h(block / panels / tiles % params.heads),
        row((tiles - 1 - block / panels % tiles) * S::kRows),  // causal: most keys first
        column(block % panels * S::kWidth),
        q(params.q, maps.q, n, h, params.queries, params.width),
        k(params.k, maps.k, n, h / params.group, params.keys, params.width),
        v(params.v, maps.v, n, h / params.group, params.keys, params.value_width),
        mask(params, n, h),
        first_score((n * params.heads + h) * params.queries + row) {
    const int64_t seen = params.is_causal ? min(params.keys, row + S::kRows) : params.keys;
    const int64_t of_keys = tiles_of(seen, S::kColumns);
    begin = part * of_keys / params.parts * S::kColumns;
    end = min(seen, (part + 1) * of_keys / params.parts * S::kColumns);
  }

  template <bool adds>
  __device__ void to_scores(typename S::Scores& s, const ColumnBlock& keys,
                            const Masks& masks) const {
    PYNEURAL_UNROLL
    for (int r = 0; r < 2; ++r) {
      const int query = row_of(2 * r);
      const auto added = mask.added(masks, row, query, keys.first, column_of(0));
      PYNEURAL_UNROLL
      for (int word = 0; word < Masks::kWords; ++word) {
        const uint32_t seen = mask.seen(masks, row, query, keys.first, word) >> column_of(0);
        PYNEURAL_UNROLL
        for (int j = 4 * word; j < 4 * word + 4; ++j) PYNEURAL_UNROLL
        for (int q = 0; q < 2; ++q) {
          Accumulator& score = s[j][2 * r + q];
          if (!(seen >> (j % 4 * 8 + q) & 1))
            score = -infinity<Accumulator>();
          else
            score = adds ? added.score(score, j * 8 + q) : mask.score(score);
        }
      }
    }
  }
};

}  // namespace pyneural::attention::cuda
