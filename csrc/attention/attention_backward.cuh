// The backward on CUDA, from the weights that each block computes again:
//
//   p = exp(score - lse),   dp = grad_out v^T,   ds = p (kept dp - delta)
//   grad_q = scale ds k,   grad_k = scale ds^T q,   grad_v = kept p^T grad_out
//
// One kernel owns tiles of queries and gives grad_q, one owns tiles of keys and gives the other
// two, for all heads that share them: every sum has one owner and one order, hence the same bits on
// every run.
#pragma once

#include "attention_finite.cuh"
#include "attention_forward.cuh"
#include "attention_mask.cuh"
#include "attention_pipeline.cuh"

namespace pyneural::attention {

constexpr int kDeltaRows = 4;  // of a block

// delta [N, H, L], a warp for each.
template <class T>
__global__ void __launch_bounds__(kDeltaRows * 32)
    delta_kernel(const __grid_constant__ AttentionParams<T> params) {
  using Accumulator = typename AttentionParams<T>::Accumulator;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kDeltaRows + warp_of_block();
  const int64_t rows = params.batch * params.heads * params.queries;
  const int64_t row = min(at, rows - 1);
  const int64_t l = row % params.queries, head = row / params.queries;
  const auto start = [&](const auto& of) {
    return of.data + head / params.heads * of.batch_stride + head % params.heads * of.head_stride +
           l * of.row_stride;
  };
  const T *const grad_out = start(params.grad_out), *const out = start(params.out);
  Accumulator sum = 0;
  for (int64_t e = lane_of_warp(); e < params.value_width; e += 32)
    sum += load(grad_out + e) * load(out + e);
  for (int mask = 1; mask < 32; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  if (lane_of_warp() == 0 && at < rows) params.delta[row] = sum;
}

// A weight from its score and its row's log-sum-exp, both in units of log2; 0 for a masked key,
// whatever the log-sum-exp.
template <class Accumulator>
__device__ Accumulator weight_of(Accumulator score, Accumulator log_sum) {
  return score == -infinity<Accumulator>() ? Accumulator(0) : exp2(score - log_sum);
}
template <class Accumulator>
__device__ Accumulator grad_score(Accumulator weight, Accumulator grad_weight, Accumulator delta) {
  return weight == 0 ? Accumulator(0) : weight * (grad_weight - delta);
}

template <class S>
struct QueryGradientShared {
  typename S::RowTile q;
  typename S::RowTile grad_out;
  typename S::ColumnTile k[2];
  typename S::ColumnTile v[2];
  KeepTile<S::kRows> keep;
  CopyBarrier barriers[2];
};

// A block owns a tile of queries and kWidth columns of their gradient.
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    query_gradient_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                          const __grid_constant__ TileMaps maps) {
  using T = typename S::T;
  using Accumulator = typename S::Accumulator;
  auto& shared = *reinterpret_cast<QueryGradientShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const QueryBlock<S> own(params, panels_of<S>(params.width));
  const int64_t n = own.n, h = own.h, row = own.row, column = own.panel * S::kWidth;
  const Matrix<T> q(params.q, maps.q, n, h, params.queries, params.width);
  const Matrix<T> k(params.k, maps.k, n, h / params.group, params.keys, params.width);
  const Matrix<T> v(params.v, maps.v, n, h / params.group, params.keys, params.value_width);
  const Matrix<T> grad_out(params.grad_out, maps.grad_out, n, h, params.queries,
                           params.value_width);
  const Mask<T> mask(params, n, h);
  const Dropout dropout = dropout_of(params);
  const Accumulator factor = static_cast<Accumulator>(params.dropout.factor);
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
      stages.copy_async(stage, shared.v[stage], v, at.first, 0);
    }
    stages.commit(stage);
  };

  Accumulator log_sum[2], delta[2];
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const bool is_inside = row + row_of(2 * r) < params.queries;
    const int64_t at = first_score + row_of(2 * r);
    log_sum[r] = is_inside ? params.lse[at] * kLog2E<Accumulator> : infinity<Accumulator>();
    delta[r] = is_inside ? params.delta[at] : 0;
  }
  typename S::Totals totals = {};
  stages.copy_async(0, shared.q, q, row, 0);
  stages.copy_async(0, shared.grad_out, grad_out, row, 0);
  Columns now = columns_from(0);
  copy_columns_async(now, 0);
  int stage = 0;
  for (; now.block_mask != BlockMask::empty; stage ^= 1) {
    const Columns next = columns_from(now.first + S::kColumns);
    copy_columns_async(next, stage ^ 1);
    if (params.seed) shared.keep.template draw<S::kThreads>(dropout, first_score, now.first);
    stages.wait(stage);
    const bool is_whole = now.block_mask == BlockMask::full;
    typename S::Scores scores, grads;
    score<S>(scores, shared.q, q, row, shared.k[stage], k, now.first);
    score<S>(grads, shared.grad_out, grad_out, row, shared.v[stage], v, now.first);
    PYNEURAL_UNROLL
    for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int64_t key = now.first + j * 8 + column_of(e);
      const Accumulator power =
          is_whole ? mask.score(scores[j][e]) : mask.score(scores[j][e], row + row_of(e), key);
      Accumulator grad = grads[j][e] * factor;
      if (params.seed && !shared.keep.keeps(row_of(e), key)) grad = 0;
      scores[j][e] = grad_score(weight_of(power, log_sum[e / 2]), grad, delta[e / 2]);
    }
    if (params.width > S::kWidth) copy_tile<S>(shared.k[stage], k, now.first, column);
    if (!is_whole) {  // an element that is not finite made its scores' weights NaN, or is masked
      __syncthreads();
      replace_not_finite<S, NotFinite::cleared>(shared.k[stage], k.columns - column);
    }
    add_weighted_rows<S>(totals, scores, shared.k[stage], k.columns - column);
    __syncthreads();
    now = next;
  }
  stages.finish(stage);
  store_totals<S>(totals, params.grad_q, n, h, row, params.queries, column, params.width,
                  [&](int) { return params.scale; });
}

template <class S>
struct KeyGradientShared {
  typename S::RowTile k;
  typename S::RowTile v;
  typename S::ColumnTile q[2];
  typename S::ColumnTile grad_out[2];
  typename S::Accumulator log_sum[S::kColumns], delta[S::kColumns];
  KeepTile<S::kColumns> keep;
  CopyBarrier barriers[2];
};

// Blocks that share the columns of both gradients.
template <class S>
__host__ __device__ int64_t key_panels(const AttentionParams<typename S::T>& params) {
  const int64_t of_k = panels_of<S>(params.width), of_v = panels_of<S>(params.value_width);
  return of_k > of_v ? of_k : of_v;
}

// Queries of a head among those that share the keys.
struct QueryColumns {
  int64_t head;
  Columns columns;
};

// A block owns a tile of keys and kWidth columns of both their gradients.
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    key_gradient_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                        const __grid_constant__ TileMaps maps) {
  using T = typename S::T;
  using Accumulator = typename S::Accumulator;
  static_assert(S::kRows == kDropoutBlock);
  auto& shared = *reinterpret_cast<KeyGradientShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const int64_t panels = key_panels<S>(params), tiles = tiles_of(params.keys, S::kRows);
  const int64_t block = blockIdx.x / panels, column = blockIdx.x % panels * S::kWidth;
  const int64_t row = block % tiles * S::kRows, key_heads = params.heads / params.group;
  const int64_t n = block / tiles / key_heads, key_head = block / tiles % key_heads;
  const Matrix<T> k(params.k, maps.k, n, key_head, params.keys, params.width);
  const Matrix<T> v(params.v, maps.v, n, key_head, params.keys, params.value_width);
  const auto q_of = [&](int64_t head) {
    return Matrix<T>(params.q, maps.q, n, key_head * params.group + head, params.queries,
                     params.width);
  };
  const auto grad_out_of = [&](int64_t head) {
    return Matrix<T>(params.grad_out, maps.grad_out, n, key_head * params.group + head,
                     params.queries, params.value_width);
  };
  const auto mask_of = [&](int64_t head) {
    return Mask<T>(params, n, key_head * params.group + head);
  };
  const Dropout dropout = dropout_of(params);
  const Accumulator factor = static_cast<Accumulator>(params.dropout.factor);
  // Queries before a key do not see it.
  const int64_t begin = params.is_causal ? row / S::kColumns * S::kColumns : 0;
  const auto columns_from = [&](int64_t head, int64_t first) {
    for (; head < params.group; ++head, first = begin) {
      const Mask<T> mask = mask_of(head);
      const Columns found = next_columns(first, params.queries, S::kColumns, [&](int64_t query) {
        return mask.template block_mask<S::kThreads>(query, S::kColumns, row, S::kRows);
      });
      if (found.block_mask != BlockMask::empty) return QueryColumns{head, found};
    }
    return QueryColumns{head, {0, BlockMask::empty}};
  };
  const auto copy_columns_async = [&](const QueryColumns& at, int stage) {
    if (at.columns.block_mask != BlockMask::empty) {
      stages.copy_async(stage, shared.q[stage], q_of(at.head), at.columns.first, 0);
      stages.copy_async(stage, shared.grad_out[stage], grad_out_of(at.head), at.columns.first, 0);
    }
    stages.commit(stage);
  };

  typename S::Totals grad_k = {}, grad_v = {};
  stages.copy_async(0, shared.k, k, row, 0);
  stages.copy_async(0, shared.v, v, row, 0);
  QueryColumns now = columns_from(0, begin);
  copy_columns_async(now, 0);
  int stage = 0;
  for (; now.columns.block_mask != BlockMask::empty; stage ^= 1) {
    const QueryColumns next = columns_from(now.head, now.columns.first + S::kColumns);
    copy_columns_async(next, stage ^ 1);
    const int64_t first = now.columns.first, h = key_head * params.group + now.head;
    const int64_t first_score = (n * params.heads + h) * params.queries + first;
    for (int i = static_cast<int>(threadIdx.x); i < S::kColumns; i += S::kThreads) {
      const bool is_inside = first + i < params.queries;
      shared.log_sum[i] =
          is_inside ? params.lse[first_score + i] * kLog2E<Accumulator> : infinity<Accumulator>();
      shared.delta[i] = is_inside ? params.delta[first_score + i] : 0;
    }
    if (params.seed) shared.keep.template draw<S::kThreads>(dropout, first_score, row);
    stages.wait(stage);
    const Matrix<T> q = q_of(now.head), grad_out = grad_out_of(now.head);
    const Mask<T> mask = mask_of(now.head);
    const bool is_whole = now.columns.block_mask == BlockMask::full;
    typename S::Scores weights, grads;
    score<S>(weights, shared.k, k, row, shared.q[stage], q, first);
    score<S>(grads, shared.v, v, row, shared.grad_out[stage], grad_out, first);
    PYNEURAL_UNROLL
    for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int query = j * 8 + column_of(e);
      const int64_t key = row + row_of(e);
      const Accumulator power =
          is_whole ? mask.score(weights[j][e]) : mask.score(weights[j][e], first + query, key);
      const Accumulator weight = weight_of(power, shared.log_sum[query]);
      const bool is_kept = !params.seed || shared.keep.keeps(query, key);
      weights[j][e] = is_kept ? weight : Accumulator(0);
      grads[j][e] =
          grad_score(weight, is_kept ? grads[j][e] * factor : Accumulator(0), shared.delta[query]);
    }
    const auto copy_panel = [&](typename S::ColumnTile& to, const Matrix<T>& from) {
      if (from.columns > S::kWidth && column < from.columns) copy_tile<S>(to, from, first, column);
    };
    copy_panel(shared.grad_out[stage], grad_out);
    add_weighted_rows<S>(grad_v, weights, shared.grad_out[stage], v.columns - column);
    copy_panel(shared.q[stage], q);
    add_weighted_rows<S>(grad_k, grads, shared.q[stage], k.columns - column);
    __syncthreads();
    now = next;
  }
  stages.finish(stage);
  if (params.grad_k.data)
    store_totals<S>(grad_k, params.grad_k, n, key_head, row, params.keys, column, params.width,
                    [&](int) { return params.scale; });
  if (params.grad_v.data)
    store_totals<S>(grad_v, params.grad_v, n, key_head, row, params.keys, column,
                    params.value_width, [&](int) { return factor; });
}

}  // namespace pyneural::attention
