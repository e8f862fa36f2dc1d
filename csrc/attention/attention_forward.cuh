// The forward on CUDA: a block owns a tile of queries and kWidth columns of their output.
//
// Online softmax, tile by tile of the keys: scores, the row maximum so far, the weights relative to
// it, their sum and the weighted values; earlier sums are rescaled whenever the maximum grows
// (Milakov and Gimelshein 2018; Dao et al. 2022).
#pragma once

#include "attention_finite.cuh"
#include "attention_mask.cuh"
#include "attention_pipeline.cuh"

namespace pyneural::attention {

template <class S>
struct ForwardShared {
  typename S::RowTile q;
  typename S::ColumnTile k[2];
  typename S::ColumnTile v[2];
  KeepTile<S::kRows> keep;
  CopyBarrier barriers[2];
};

// The part of the problem that a block of queries takes.
template <class S>
struct QueryBlock {
  int64_t panel, row, n, h;

  // panels: of kWidth columns of the result, each computed by a block of its own.
  template <class Params>
  __device__ QueryBlock(const Params& params, int64_t panels) {
    const int64_t tiles = tiles_of(params.queries, S::kRows);
    const int64_t block = blockIdx.x / panels, head = block / tiles;
    panel = blockIdx.x % panels;
    row = (tiles - 1 - block % tiles) * S::kRows;  // causal: those with most keys first
    n = head / params.heads;
    h = head % params.heads;
  }
};

// Panels of kWidth columns of a result; at least one, for the other results of its block.
template <class S>
__host__ __device__ int64_t panels_of(int64_t width) {
  const int64_t panels = tiles_of(width, S::kWidth);
  return panels > 1 ? panels : 1;
}

__device__ inline float max(float a, float b) { return fmaxf(a, b); }
__device__ inline double max(double a, double b) { return fmax(a, b); }
__device__ inline float log2(float x) { return log2f(x); }
__device__ inline double log2(double x) { return ::log2(x); }

// Over the quad of lanes that share the rows of a fragment.
template <class Accumulator>
__device__ Accumulator quad_max(Accumulator value) {
  for (int mask = 1; mask < 4; mask *= 2)
    value = max(value, __shfl_xor_sync(0xffffffffu, value, mask));
  return value;
}
template <class Accumulator>
__device__ Accumulator quad_sum(Accumulator value) {
  for (int mask = 1; mask < 4; mask *= 2) value += __shfl_xor_sync(0xffffffffu, value, mask);
  return value;
}

// Of a lane's two rows: the maximum of the scores so far, and the sum of the lane's weights.
template <class S>
struct Softmax {
  using Accumulator = typename S::Accumulator;
  Accumulator row_max[2] = {-infinity<Accumulator>(), -infinity<Accumulator>()},
              row_sum[2] = {0, 0};

  // Scores become weights; totals are scaled to them.
  __device__ void add(typename S::Scores& scores, typename S::Totals& totals) {
    PYNEURAL_UNROLL
    for (int r = 0; r < 2; ++r) {
      Accumulator now = row_max[r];
      PYNEURAL_UNROLL
      for (auto& score : scores) now = max(now, max(score[2 * r], score[2 * r + 1]));
      now = quad_max(now);
      const Accumulator base = now == -infinity<Accumulator>() ? 0 : now;
      const Accumulator rescale = exp2(row_max[r] - base);
      row_max[r] = now;
      row_sum[r] *= rescale;
      PYNEURAL_UNROLL
      for (auto& score : scores) PYNEURAL_UNROLL
      for (int q = 2 * r; q < 2 * r + 2; ++q) {
        score[q] = exp2(score[q] - base);
        row_sum[r] += score[q];
      }
      PYNEURAL_UNROLL
      for (auto& total : totals) PYNEURAL_UNROLL
      for (int q = 2 * r; q < 2 * r + 2; ++q) total[q] *= rescale;
    }
  }
};

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    forward_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                   const __grid_constant__ TileMaps maps) {
  using T = typename S::T;
  using Accumulator = typename S::Accumulator;
  auto& shared = *reinterpret_cast<ForwardShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const QueryBlock<S> own(params, panels_of<S>(params.value_width));
  const int64_t n = own.n, h = own.h, row = own.row, column = own.panel * S::kWidth;
  const Matrix<T> q(params.q, maps.q, n, h, params.queries, params.width);
  const Matrix<T> k(params.k, maps.k, n, h / params.group, params.keys, params.width);
  const Matrix<T> v(params.v, maps.v, n, h / params.group, params.keys, params.value_width);
  const Mask<T> mask(params, n, h);
  const Dropout dropout = dropout_of(params);
  const int64_t first_score = (n * params.heads + h) * params.queries + row;
  const int64_t end = params.is_causal ? min(params.keys, row + S::kRows) : params.keys;
  const auto columns_from = [&](int64_t first) {
    return next_columns(first, end, S::kColumns, [&](int64_t key) {
      return mask.template block_mask<S::kThreads>(row, S::kRows, key, S::kColumns);
    });
  };
  const auto copy_columns_async = [&](const Columns& at, int stage) {
    if (at.block_mask != BlockMask::empty) {
      stages.copy_async(stage, shared.k[stage], k, at.first, 0);
      stages.copy_async(stage, shared.v[stage], v, at.first, column);
    }
    stages.commit(stage);
  };

  typename S::Totals totals = {};
  Softmax<S> softmax;
  stages.copy_async(0, shared.q, q, row, 0);
  Columns now = columns_from(0);
  copy_columns_async(now, 0);
  int stage = 0;
  for (; now.block_mask != BlockMask::empty; stage ^= 1) {
    const Columns next = columns_from(now.first + S::kColumns);
    copy_columns_async(next, stage ^ 1);
    stages.wait(stage);
    typename S::Scores scores;
    score<S>(scores, shared.q, q, row, shared.k[stage], k, now.first);
    const bool is_whole = now.block_mask == BlockMask::full;
    PYNEURAL_UNROLL
    for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
    for (int e = 0; e < 4; ++e)
      scores[j][e] =
          is_whole ? mask.score(scores[j][e])
                   : mask.score(scores[j][e], row + row_of(e), now.first + j * 8 + column_of(e));
    softmax.add(scores, totals);
    if (params.seed) {
      shared.keep.template draw<S::kThreads>(dropout, first_score, now.first);
      __syncthreads();
      PYNEURAL_UNROLL
      for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
      for (int e = 0; e < 4; ++e)
        if (!shared.keep.keeps(row_of(e), now.first + j * 8 + column_of(e))) scores[j][e] = 0;
    }
    if (is_whole)
      add_weighted_rows<S>(totals, scores, shared.v[stage], v.columns - column);
    else
      add_rows_that_count<S>(totals, scores, shared.v[stage], v, now.first, column);
    __syncthreads();
    now = next;
  }
  stages.finish(stage);

  Accumulator factors[2];
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const Accumulator sum = quad_sum(softmax.row_sum[r]);
    factors[r] =
        sum == 0 ? Accumulator(0) : Accumulator(params.seed ? params.dropout.factor : 1) / sum;
    const int64_t query = row + row_of(2 * r);
    if (params.lse && own.panel == 0 && column_of(0) == 0 && query < params.queries)
      params.lse[(n * params.heads + h) * params.queries + query] =
          sum == 0 ? infinity<Accumulator>() : (softmax.row_max[r] + log2(sum)) * kLn2<Accumulator>;
  }
  store_totals<S>(totals, params.out, n, h, row, params.queries, column, params.value_width,
                  [&](int e) { return factors[e / 2]; });
}

}  // namespace pyneural::attention
