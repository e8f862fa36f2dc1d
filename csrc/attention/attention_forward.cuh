// The forward on CUDA: a block owns a tile of queries and kWidth columns of their output.
//
// Online softmax, tile by tile of the keys: scores S, the maximum of each row so far, the weights P
// relative to it, their sum and P V; earlier sums are rescaled whenever the maximum grows (Milakov
// and Gimelshein 2018; Dao et al. 2022). Notation of notation.h.
#pragma once

#include "attention_finite.cuh"
#include "attention_query_tile.cuh"

namespace pyneural::attention::cuda {

template <class S>
struct ForwardShared {
  typename S::RowTile q;
  typename S::ColumnTile k[2];
  typename S::ColumnTile v[2];
  KeepTile<S::kRows> keep;
  CopyBarrier barriers[2];
};

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

// For a lane's two rows: the maximum of the scores so far, and the sum of the lane's weights.
template <class S>
struct Softmax {
  using Accumulator = typename S::Accumulator;
  Accumulator row_max[2] = {-infinity<Accumulator>(), -infinity<Accumulator>()}, row_sum[2] = {};

  // The scores in p become weights; o is rescaled to the new maximum.
  __device__ void update(typename S::Scores& p, typename S::Output& o) {
    PYNEURAL_UNROLL
    for (int r = 0; r < 2; ++r) {
      Accumulator now = row_max[r];
      PYNEURAL_UNROLL
      for (auto& score : p) now = max(now, max(score[2 * r], score[2 * r + 1]));
      now = quad_max(now);
      const Accumulator base = now == -infinity<Accumulator>() ? 0 : now;
      const Accumulator rescale = exp2(row_max[r] - base);
      row_max[r] = now;
      row_sum[r] *= rescale;
      PYNEURAL_UNROLL
      for (auto& score : p) PYNEURAL_UNROLL
      for (int q = 2 * r; q < 2 * r + 2; ++q) {
        score[q] = exp2(score[q] - base);
        row_sum[r] += score[q];
      }
      PYNEURAL_UNROLL
      for (auto& sum : o) PYNEURAL_UNROLL
      for (int q = 2 * r; q < 2 * r + 2; ++q) sum[q] *= rescale;
    }
  }
};

// Computes the elements of the block's output that are NaN once more, by plain multiply-adds: with
// an infinite v they may be infinite, where a product of tensor cores, of a v that is split or
// cleared, is not. Slow, and in a loop, for it is rarely needed.
template <class S>
__device__ void compute_nan_again(const AttentionParams<typename S::T>& params,
                                  const QueryTile<S>& tile, const Softmax<S>& softmax,
                                  const typename S::Accumulator (&factors)[2]) {
  using Accumulator = typename S::Accumulator;
  const auto& to = params.out;
  _Pragma("unroll 1") for (int i = 0; i < S::kWidth / 2; ++i) {
    const int e = i % 4;
    const int64_t row = tile.row + row_of(e), column = tile.column + i / 4 * 8 + column_of(e);
    if (row >= params.queries || column >= params.value_width) continue;
    auto* const element =
        to.data + tile.n * to.batch_stride + tile.h * to.head_stride + row * to.row_stride + column;
    if (load(element) == load(element)) continue;
    const Accumulator row_max = e < 2 ? softmax.row_max[0] : softmax.row_max[1];
    const Accumulator factor = e < 2 ? factors[0] : factors[1];
    Accumulator sum = 0;
    for (int64_t key = 0; key < tile.end; ++key) {
      Accumulator product = 0;
      for (int64_t d = 0; d < params.width; ++d)
        product += load(tile.q.data + row * tile.q.stride + d) *
                   load(tile.k.data + key * tile.k.stride + d);
      const Accumulator score = tile.mask.score(product, row, key);
      if (score == -infinity<Accumulator>() ||
          (params.seed && !keeps_weight(dropout_of(params), tile.first_score + row_of(e), key)))
        continue;
      // The factor first: this score, rounded otherwise, may be above the maximum of the others.
      sum += exp2(score - row_max) * factor * load(tile.v.data + key * tile.v.stride + column);
    }
    store(sum, element);
  }
}

template <class S>
__global__ void __launch_bounds__(S::kThreads)
    forward_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                   const __grid_constant__ TileMaps maps) {
  using Accumulator = typename S::Accumulator;
  auto& shared = *reinterpret_cast<ForwardShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const QueryTile<S> tile(params, maps, params.value_width);
  typename S::Output o = {};
  Softmax<S> softmax;
  stages.copy_async(0, shared.q, tile.q, tile.row, 0);
  stages.run(
      tile.keys_from(0), [&](const ColumnBlock& keys) { return tile.keys_after(keys); },
      [&](const ColumnBlock& keys, int stage) {
        stages.copy_async(stage, shared.k[stage], tile.k, keys.first, 0);
        stages.copy_async(stage, shared.v[stage], tile.v, keys.first, tile.column);
      },
      [&](const ColumnBlock& keys, int stage) {
        stages.wait(stage);
        typename S::Scores p;  // scores until softmax.update
        multiply_transposed<S>(p, shared.q, tile.q, tile.row, shared.k[stage], tile.k, keys.first);
        PYNEURAL_UNROLL
        for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
        for (int e = 0; e < 4; ++e) p[j][e] = tile.score(p[j][e], keys, j, e);
        softmax.update(p, o);
        if (params.seed) {
          shared.keep.template draw<S::kThreads>(dropout_of(params), tile.first_score, keys.first);
          __syncthreads();
          PYNEURAL_UNROLL
          for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
          for (int e = 0; e < 4; ++e)
            if (!shared.keep.keeps(row_of(e), keys.first + j * 8 + column_of(e))) p[j][e] = 0;
        }
        if (keys.block_mask == BlockMask::full)
          add_product<S>(o, p, shared.v[stage], tile.v.columns - tile.column);
        else
          add_product_masked<S>(o, p, shared.v[stage], tile.v, keys.first, tile.column);
      });

  Accumulator factors[2];
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const Accumulator sum = quad_sum(softmax.row_sum[r]);
    factors[r] =
        sum == 0 ? Accumulator(0) : Accumulator(params.seed ? params.dropout.factor : 1) / sum;
    const int row = row_of(2 * r);
    if (params.lse && tile.column == 0 && column_of(0) == 0 && tile.row + row < params.queries)
      params.lse[tile.first_score + row] =
          sum == 0 ? infinity<Accumulator>() : (softmax.row_max[r] + log2(sum)) * kLn2<Accumulator>;
  }
  store_output<S>(o, params.out, tile.n, tile.h, tile.row, params.queries, tile.column,
                  params.value_width, [&](int e) { return factors[e / 2]; });
  bool has_nan = false;
  PYNEURAL_UNROLL
  for (const auto& fragment : o) PYNEURAL_UNROLL
  for (const Accumulator sum : fragment) has_nan |= sum != sum;
  if (has_nan) compute_nan_again(params, tile, softmax, factors);
}

}  // namespace pyneural::attention::cuda
