// The forward on CUDA: a block owns a tile of queries and kWidth columns of their output.
//
// Online softmax, tile by tile of the keys: scores S, the maximum of each row so far, the weights P
// relative to it, their sum and P V; earlier sums are rescaled whenever the maximum grows (Milakov
// and Gimelshein 2018; Dao et al. 2022). Where there are few queries, the keys are split in parts
// among blocks, whose sums a second kernel joins in their order: the same bits on every run.
// Notation of notation.h.
#pragma once

#include "attention_finite.cuh"
#include "attention_query_tile.cuh"

namespace pyneural::attention::cuda {

template <class S>
struct ForwardShared {
  using Masks = typename QueryTile<S>::Masks;
  typename S::RowTile q;
  typename S::ColumnTile k[2];
  typename S::ColumnTile v[2];
  typename Masks::Tile masks[2];
  KeepTile<S::kRows> keep[2];
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

// An element of the output, and where it goes to.
template <class T>
struct OutputElement {
  int64_t n, h, query, column;

  __device__ T* in(const Rows<T>& to) const {
    return to.data + n * to.batch_stride + h * to.head_stride + query * to.row_stride + column;
  }

  // Its value by plain multiply-adds: with an infinite v it may be infinite, where a product of
  // tensor cores, of a v that is split or cleared, is not. Slow, for it is rarely needed. row_max
  // and factor: the largest score of the query, and the factor of its weights.
  template <class Accumulator>
  __device__ Accumulator compute_again(const AttentionParams<T>& params, Accumulator row_max,
                                       Accumulator factor) const {
    const auto row_of_head = [&](const Rows<const T>& of, int64_t head, int64_t row) {
      return of.data + n * of.batch_stride + head * of.head_stride + row * of.row_stride;
    };
    const Mask<T> mask(params, n, h);
    const T* const q = row_of_head(params.q, h, query);
    Accumulator sum = 0;
    for (int64_t key = 0; key < params.keys; ++key) {
      const T* const k = row_of_head(params.k, h / params.group, key);
      Accumulator product = 0;
      for (int64_t d = 0; d < params.width; ++d) product += load(q + d) * load(k + d);
      const Accumulator score = mask.plain_score(product, query, key);
      const int64_t at = (n * params.heads + h) * params.queries + query;
      if (score == -infinity<Accumulator>() ||
          (params.seed && !keeps_weight(dropout_of(params), at, key)))
        continue;
      // The factor first: this score, rounded otherwise, may be above the maximum of the others.
      sum += exp2(score - row_max) * factor *
             load(row_of_head(params.v, h / params.group, key) + column);
    }
    return sum;
  }
};

// Computes the elements of the block's output that are NaN once more.
template <class S>
__device__ void compute_nan_again(const AttentionParams<typename S::T>& params,
                                  const QueryTile<S>& tile, const Softmax<S>& softmax,
                                  const typename S::Accumulator (&factors)[2]) {
  _Pragma("unroll 1") for (int i = 0; i < S::kWidth / 2; ++i) {
    const int e = i % 4;
    const OutputElement<typename S::T> of = {tile.n, tile.h, tile.row + row_of(e),
                                             tile.column + i / 4 * 8 + column_of(e)};
    if (of.query >= params.queries || of.column >= params.value_width) continue;
    auto* const element = of.in(params.out);
    if (load(element) == load(element)) continue;
    store(of.compute_again(params, e < 2 ? softmax.row_max[0] : softmax.row_max[1],
                           e < 2 ? factors[0] : factors[1]),
          element);
  }
}

// The factor of the weights of a query in its output: 0 where no key is seen.
template <class T, class Accumulator>
__device__ Accumulator output_factor(const AttentionParams<T>& params, Accumulator sum) {
  return sum == 0 ? Accumulator(0)
                  : static_cast<Accumulator>(params.seed ? params.dropout.factor : 1) / sum;
}
template <class Accumulator>
__device__ Accumulator log_sum_exp(Accumulator row_max, Accumulator sum) {
  return sum == 0 ? infinity<Accumulator>() : (row_max + log2(sum)) * kLn2<Accumulator>;
}

// Blocks of a multiprocessor for which there must be registers: fewer of wide rows, whose output
// takes 64 of a thread, and of doubles.
template <class S>
constexpr int kForwardBlocks =
    sizeof(typename S::Output) <= 128 && sizeof(typename S::T) < 8 ? 3 : 2;

template <class S>
__global__ void __launch_bounds__(S::kThreads, kForwardBlocks<S>)
    forward_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                   const __grid_constant__ TileMaps maps) {
  using Accumulator = typename S::Accumulator;
  auto& shared = *reinterpret_cast<ForwardShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const QueryTile<S> tile(params, maps, params.value_width);
  const auto masks = [&](int stage) { return masks_of(shared, stage, params.keeps_added); };
  typename S::Output o = {};
  Softmax<S> softmax;
  stages.copy_async(0, shared.q, tile.q, tile.row, 0);
  stages.run(
      tile.keys_from(tile.begin, masks(0)),
      [&](const ColumnBlock& keys, int stage) {
        return tile.keys_from(keys.first + S::kColumns, masks(stage));
      },
      [&](const ColumnBlock& keys, int stage) {
        stages.copy_async(stage, shared.k[stage], tile.k, keys.first, 0);
        stages.copy_async(stage, shared.v[stage], tile.v, keys.first, tile.column);
        if (params.seed)
          shared.keep[stage].template draw<S::kThreads>(dropout_of(params), tile.first_score,
                                                        keys.first);
      },
      [&](const ColumnBlock& keys, int stage) {
        typename S::Scores p;  // scores until softmax.update
        multiply_transposed<S>(p, shared.q, tile.q, tile.row, shared.k[stage], tile.k, keys.first);
        tile.to_scores(p, keys, masks(stage));
        softmax.update(p, o);
        if (params.seed) {
          PYNEURAL_UNROLL
          for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
          for (int e = 0; e < 4; ++e)
            if (!shared.keep[stage].keeps(row_of(e), keys.first + j * 8 + column_of(e)))
              p[j][e] = 0;
        }
        if (tile.is_full(keys, masks(stage)))
          add_product<S>(o, p, shared.v[stage], tile.v.columns - tile.column);
        else
          add_product_masked<S>(o, p, shared.v[stage], tile.v, keys.first, tile.column);
      });

  Accumulator factors[2];
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const Accumulator sum = quad_sum(softmax.row_sum[r]);
    factors[r] = output_factor(params, sum);
    const int row = row_of(2 * r);
    if (tile.column != 0 || column_of(0) != 0 || tile.row + row >= params.queries) continue;
    if (params.parts > 1) {
      const int64_t at =
          part_of_block<S>(params, params.value_width) * params.rows() + tile.first_score + row;
      params.part_max[at] = softmax.row_max[r];
      params.part_sum[at] = sum;
    } else if (params.lse) {
      params.lse[tile.first_score + row] = log_sum_exp(softmax.row_max[r], sum);
    }
  }
  if (params.parts > 1) {
    const auto to = rows_of_part(params.part_out, part_of_block<S>(params, params.value_width),
                                 params.batch, params.heads, params.queries, params.value_width);
    store_output<S>(o, to, tile.n, tile.h, tile.row, params.queries, tile.column,
                    params.value_width, [](int) { return Accumulator(1); });
    return;
  }
  store_output<S>(o, params.out, tile.n, tile.h, tile.row, params.queries, tile.column,
                  params.value_width, [&](int e) { return factors[e / 2]; });
  bool has_nan = false;
  PYNEURAL_UNROLL
  for (const auto& fragment : o) PYNEURAL_UNROLL
  for (const Accumulator sum : fragment) has_nan |= sum != sum;
  if (has_nan) compute_nan_again(params, tile, softmax, factors);
}

constexpr int kJoinWarps = 4;     // of a block
constexpr int kJoinColumns = 32;  // of a warp

// Warps that join the parts of a query.
template <class T>
__host__ __device__ int64_t join_panels(const AttentionParams<T>& params) {
  return params.value_width > kJoinColumns ? tiles_of(params.value_width, kJoinColumns) : 1;
}

// The output and lse from the parts, a warp for each query and kJoinColumns columns. Relative to
// the largest score of all, a part has the weight exp2(part_max - row_max); one that sees no key
// has none.
template <class T>
__global__ void __launch_bounds__(kJoinWarps * 32)
    join_parts_kernel(const __grid_constant__ AttentionParams<T> params) {
  using Accumulator = typename AttentionParams<T>::Accumulator;
  const int64_t panels = join_panels(params), rows = params.rows();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kJoinWarps + warp_of_block();
  const int64_t row = min(at / panels, rows - 1);
  const int lane = lane_of_warp();
  Accumulator row_max = -infinity<Accumulator>(), sum = 0;
  for (int64_t part = lane; part < params.parts; part += 32)
    row_max = max(row_max, params.part_max[part * rows + row]);
  for (int mask = 1; mask < 32; mask *= 2)
    row_max = max(row_max, __shfl_xor_sync(0xffffffffu, row_max, mask));
  const Accumulator base = row_max == -infinity<Accumulator>() ? Accumulator(0) : row_max;
  const auto weight_of = [&](int64_t part) {
    return exp2(params.part_max[part * rows + row] - base);
  };
  for (int64_t part = lane; part < params.parts; part += 32)
    sum += weight_of(part) * params.part_sum[part * rows + row];
  for (int mask = 1; mask < 32; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  if (at >= rows * panels) return;
  const int64_t column = at % panels * kJoinColumns + lane;
  if (params.lse && column == 0) params.lse[row] = log_sum_exp(row_max, sum);
  if (column >= params.value_width) return;
  Accumulator out = 0;
  for (int64_t part = 0; part < params.parts; ++part)
    out += weight_of(part) * params.part_out[(part * rows + row) * params.value_width + column];
  const Accumulator factor = output_factor(params, sum);
  out *= factor;
  const int64_t head = row / params.queries;
  const OutputElement<T> of = {head / params.heads, head % params.heads, row % params.queries,
                               column};
  store(out == out ? out : of.compute_again(params, row_max, factor), of.in(params.out));
}

}  // namespace pyneural::attention::cuda
