// The forward on CUDA: a block owns a tile of queries and kWidth numbers of their output.
//
// Tile by tile of the keys: scores, and by the largest of a row so far its weights, their sum and
// the weighted values; what was summed before is scaled down whenever a larger score comes (Milakov
// and Gimelshein 2018; Dao et al. 2022).
#pragma once

#include "attention_finite.cuh"
#include "attention_mask.cuh"
#include "attention_slots.cuh"

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

  // panels: of kWidth numbers of the result, each by a block of its own.
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

// Blocks that share the columns of a result; one at least, for what else they give.
template <class S>
__host__ __device__ int64_t panels_of(int64_t width) {
  const int64_t panels = tiles_of(width, S::kWidth);
  return panels > 1 ? panels : 1;
}

__device__ inline float larger(float a, float b) { return fmaxf(a, b); }
__device__ inline double larger(double a, double b) { return fmax(a, b); }
__device__ inline float log_2(float x) { return log2f(x); }
__device__ inline double log_2(double x) { return log2(x); }

// Over the four lanes that share the rows of a fragment.
template <class Sum>
__device__ Sum largest_of_row(Sum value) {
  for (int mask = 1; mask < 4; mask *= 2)
    value = larger(value, __shfl_xor_sync(0xffffffffu, value, mask));
  return value;
}
template <class Sum>
__device__ Sum sum_of_row(Sum value) {
  for (int mask = 1; mask < 4; mask *= 2) value += __shfl_xor_sync(0xffffffffu, value, mask);
  return value;
}

// Of a lane's two rows: the largest score so far, and the sum of the lane's weights.
template <class S>
struct Softmax {
  using Sum = typename S::Sum;
  Sum top[2] = {-infinity<Sum>(), -infinity<Sum>()}, sum[2] = {0, 0};

  // Scores become weights; totals are scaled to them.
  __device__ void add(typename S::Scores& scores, typename S::Totals& totals) {
    PYNEURAL_UNROLL
    for (int r = 0; r < 2; ++r) {
      Sum now = top[r];
      PYNEURAL_UNROLL
      for (auto& score : scores) now = larger(now, larger(score[2 * r], score[2 * r + 1]));
      now = largest_of_row(now);
      const Sum base = now == -infinity<Sum>() ? 0 : now;
      const Sum shrink = power_of_2(top[r] - base);
      top[r] = now;
      sum[r] *= shrink;
      PYNEURAL_UNROLL
      for (auto& score : scores) PYNEURAL_UNROLL
      for (int q = 2 * r; q < 2 * r + 2; ++q) {
        score[q] = power_of_2(score[q] - base);
        sum[r] += score[q];
      }
      PYNEURAL_UNROLL
      for (auto& total : totals) PYNEURAL_UNROLL
      for (int q = 2 * r; q < 2 * r + 2; ++q) total[q] *= shrink;
    }
  }
};

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    forward_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                   const __grid_constant__ TileMaps maps) {
  using T = typename S::T;
  using Sum = typename S::Sum;
  auto& shared = *reinterpret_cast<ForwardShared<S>*>(shared_memory);
  Slots<S> slots(maps, shared.barriers);
  const QueryBlock<S> own(params, panels_of<S>(params.value_width));
  const int64_t n = own.n, h = own.h, row = own.row, column = own.panel * S::kWidth;
  const Matrix<T> q(params.q, maps.q, n, h, params.queries, params.width);
  const Matrix<T> k(params.k, maps.k, n, h / params.group, params.keys, params.width);
  const Matrix<T> v(params.v, maps.v, n, h / params.group, params.keys, params.value_width);
  const Mask<T> mask(params, n, h);
  const Dropout dropout = dropout_of(params);
  const int64_t first_score = (n * params.heads + h) * params.queries + row;
  const int64_t end = params.is_causal ? smaller(params.keys, row + S::kRows) : params.keys;
  const auto columns_from = [&](int64_t first) {
    return next_columns(first, end, S::kColumns, [&](int64_t key) {
      return mask.template share<S::kThreads>(row, S::kRows, key, S::kColumns);
    });
  };
  const auto bring_columns = [&](const Columns& at, int which) {
    if (at.share != Share::none) {
      slots.bring(which, shared.k[which], k, at.first, 0);
      slots.bring(which, shared.v[which], v, at.first, column);
    }
    slots.close(which);
  };

  typename S::Totals totals = {};
  Softmax<S> softmax;
  slots.bring(0, shared.q, q, row, 0);
  Columns now = columns_from(0);
  bring_columns(now, 0);
  int which = 0;
  for (; now.share != Share::none; which ^= 1) {
    const Columns next = columns_from(now.first + S::kColumns);
    bring_columns(next, which ^ 1);
    slots.wait(which);
    typename S::Scores scores;
    score<S>(scores, shared.q, q, row, shared.k[which], k, now.first);
    const bool is_whole = now.share == Share::all;
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
      add_weighted_rows<S>(totals, scores, shared.v[which], v.columns - column);
    else
      add_rows_that_count<S>(totals, scores, shared.v[which], v, now.first, column);
    __syncthreads();
    now = next;
  }
  slots.finish(which);

  Sum factors[2];
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const Sum sum = sum_of_row(softmax.sum[r]);
    factors[r] = sum == 0 ? Sum(0) : Sum(params.seed ? params.dropout.factor : 1) / sum;
    const int64_t query = row + row_of(2 * r);
    if (params.lse && own.panel == 0 && column_of(0) == 0 && query < params.queries)
      params.lse[(n * params.heads + h) * params.queries + query] =
          sum == 0 ? infinity<Sum>() : (softmax.top[r] + log_2(sum)) * kLn2<Sum>;
  }
  store_totals<S>(totals, params.out, n, h, row, params.queries, column, params.value_width,
                  [&](int e) { return factors[e / 2]; });
}

}  // namespace pyneural::attention
