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
#include "attention_slots.cuh"

namespace pyneural::attention {

constexpr int kDeltaRows = 4;  // of a block

// delta [N, H, L], a warp for each.
template <class T>
__global__ void __launch_bounds__(kDeltaRows * 32)
    delta_kernel(const __grid_constant__ AttentionParams<T> params) {
  using Sum = typename AttentionParams<T>::Sum;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kDeltaRows + warp_of_block();
  const int64_t rows = params.batch * params.heads * params.queries;
  const int64_t row = smaller(at, rows - 1);
  const int64_t l = row % params.queries, head = row / params.queries;
  const auto start = [&](const auto& of) {
    return of.data + head / params.heads * of.batch_stride + head % params.heads * of.head_stride +
           l * of.row_stride;
  };
  const T *const grad_out = start(params.grad_out), *const out = start(params.out);
  Sum sum = 0;
  for (int64_t e = lane_of_warp(); e < params.value_width; e += 32)
    sum += load(grad_out + e) * load(out + e);
  for (int mask = 1; mask < 32; mask *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  if (lane_of_warp() == 0 && at < rows) params.delta[row] = sum;
}

// A weight from its score, a power of 2, and its row's log sum, too; 0 where the key takes no part,
// be the sum what it may.
template <class Sum>
__device__ Sum weight_of(Sum score, Sum log_sum) {
  return score == -infinity<Sum>() ? Sum(0) : power_of_2(score - log_sum);
}
template <class Sum>
__device__ Sum grad_score(Sum weight, Sum grad_weight, Sum delta) {
  return weight == 0 ? Sum(0) : weight * (grad_weight - delta);
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

// A block owns a tile of queries and kWidth numbers of their gradient.
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    query_gradient_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                          const __grid_constant__ TileMaps maps) {
  using T = typename S::T;
  using Sum = typename S::Sum;
  auto& shared = *reinterpret_cast<QueryGradientShared<S>*>(shared_memory);
  Slots<S> slots(maps, shared.barriers);
  const QueryBlock<S> own(params, panels_of<S>(params.width));
  const int64_t n = own.n, h = own.h, row = own.row, column = own.panel * S::kWidth;
  const Matrix<T> q(params.q, maps.q, n, h, params.queries, params.width);
  const Matrix<T> k(params.k, maps.k, n, h / params.group, params.keys, params.width);
  const Matrix<T> v(params.v, maps.v, n, h / params.group, params.keys, params.value_width);
  const Matrix<T> grad_out(params.grad_out, maps.grad_out, n, h, params.queries,
                           params.value_width);
  const Mask<T> mask(params, n, h);
  const Dropout dropout = dropout_of(params);
  const Sum factor = static_cast<Sum>(params.dropout.factor);
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
      slots.bring(which, shared.v[which], v, at.first, 0);
    }
    slots.close(which);
  };

  Sum log_sum[2], delta[2];
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const bool is_inside = row + row_of(2 * r) < params.queries;
    const int64_t at = first_score + row_of(2 * r);
    log_sum[r] = is_inside ? params.lse[at] * kLog2E<Sum> : infinity<Sum>();
    delta[r] = is_inside ? params.delta[at] : 0;
  }
  typename S::Totals totals = {};
  slots.bring(0, shared.q, q, row, 0);
  slots.bring(0, shared.grad_out, grad_out, row, 0);
  Columns now = columns_from(0);
  bring_columns(now, 0);
  int which = 0;
  for (; now.share != Share::none; which ^= 1) {
    const Columns next = columns_from(now.first + S::kColumns);
    bring_columns(next, which ^ 1);
    if (params.seed) shared.keep.template draw<S::kThreads>(dropout, first_score, now.first);
    slots.wait(which);
    const bool is_whole = now.share == Share::all;
    typename S::Scores scores, grads;
    score<S>(scores, shared.q, q, row, shared.k[which], k, now.first);
    score<S>(grads, shared.grad_out, grad_out, row, shared.v[which], v, now.first);
    PYNEURAL_UNROLL
    for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int64_t key = now.first + j * 8 + column_of(e);
      const Sum power =
          is_whole ? mask.score(scores[j][e]) : mask.score(scores[j][e], row + row_of(e), key);
      Sum grad = grads[j][e] * factor;
      if (params.seed && !shared.keep.keeps(row_of(e), key)) grad = 0;
      scores[j][e] = grad_score(weight_of(power, log_sum[e / 2]), grad, delta[e / 2]);
    }
    if (params.width > S::kWidth) bring_now<S>(shared.k[which], k, now.first, column);
    if (!is_whole) {  // a number that is not finite made its scores' weights NaN, or is not seen
      __syncthreads();
      replace_not_finite<S, NotFinite::cleared>(shared.k[which], k.columns - column);
    }
    add_weighted_rows<S>(totals, scores, shared.k[which], k.columns - column);
    __syncthreads();
    now = next;
  }
  slots.finish(which);
  store_totals<S>(totals, params.grad_q, n, h, row, params.queries, column, params.width,
                  [&](int) { return params.scale; });
}

template <class S>
struct KeyGradientShared {
  typename S::RowTile k;
  typename S::RowTile v;
  typename S::ColumnTile q[2];
  typename S::ColumnTile grad_out[2];
  typename S::Sum log_sum[S::kColumns], delta[S::kColumns];
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

// A block owns a tile of keys and kWidth numbers of both their gradients.
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    key_gradient_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                        const __grid_constant__ TileMaps maps) {
  using T = typename S::T;
  using Sum = typename S::Sum;
  static_assert(S::kRows == kDropoutBlock);
  auto& shared = *reinterpret_cast<KeyGradientShared<S>*>(shared_memory);
  Slots<S> slots(maps, shared.barriers);
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
  const Sum factor = static_cast<Sum>(params.dropout.factor);
  // Queries before a key do not see it.
  const int64_t begin = params.is_causal ? row / S::kColumns * S::kColumns : 0;
  const auto columns_from = [&](int64_t head, int64_t first) {
    for (; head < params.group; ++head, first = begin) {
      const Mask<T> mask = mask_of(head);
      const Columns found = next_columns(first, params.queries, S::kColumns, [&](int64_t query) {
        return mask.template share<S::kThreads>(query, S::kColumns, row, S::kRows);
      });
      if (found.share != Share::none) return QueryColumns{head, found};
    }
    return QueryColumns{head, {0, Share::none}};
  };
  const auto bring_columns = [&](const QueryColumns& at, int which) {
    if (at.columns.share != Share::none) {
      slots.bring(which, shared.q[which], q_of(at.head), at.columns.first, 0);
      slots.bring(which, shared.grad_out[which], grad_out_of(at.head), at.columns.first, 0);
    }
    slots.close(which);
  };

  typename S::Totals grad_k = {}, grad_v = {};
  slots.bring(0, shared.k, k, row, 0);
  slots.bring(0, shared.v, v, row, 0);
  QueryColumns now = columns_from(0, begin);
  bring_columns(now, 0);
  int which = 0;
  for (; now.columns.share != Share::none; which ^= 1) {
    const QueryColumns next = columns_from(now.head, now.columns.first + S::kColumns);
    bring_columns(next, which ^ 1);
    const int64_t first = now.columns.first, h = key_head * params.group + now.head;
    const int64_t first_score = (n * params.heads + h) * params.queries + first;
    for (int i = static_cast<int>(threadIdx.x); i < S::kColumns; i += S::kThreads) {
      const bool is_inside = first + i < params.queries;
      shared.log_sum[i] = is_inside ? params.lse[first_score + i] * kLog2E<Sum> : infinity<Sum>();
      shared.delta[i] = is_inside ? params.delta[first_score + i] : 0;
    }
    if (params.seed) shared.keep.template draw<S::kThreads>(dropout, first_score, row);
    slots.wait(which);
    const Matrix<T> q = q_of(now.head), grad_out = grad_out_of(now.head);
    const Mask<T> mask = mask_of(now.head);
    const bool is_whole = now.columns.share == Share::all;
    typename S::Scores weights, grads;
    score<S>(weights, shared.k, k, row, shared.q[which], q, first);
    score<S>(grads, shared.v, v, row, shared.grad_out[which], grad_out, first);
    PYNEURAL_UNROLL
    for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int query = j * 8 + column_of(e);
      const int64_t key = row + row_of(e);
      const Sum power =
          is_whole ? mask.score(weights[j][e]) : mask.score(weights[j][e], first + query, key);
      const Sum weight = weight_of(power, shared.log_sum[query]);
      const bool is_kept = !params.seed || shared.keep.keeps(query, key);
      weights[j][e] = is_kept ? weight : Sum(0);
      grads[j][e] =
          grad_score(weight, is_kept ? grads[j][e] * factor : Sum(0), shared.delta[query]);
    }
    const auto bring_panel = [&](typename S::ColumnTile& to, const Matrix<T>& from) {
      if (from.columns > S::kWidth && column < from.columns) bring_now<S>(to, from, first, column);
    };
    bring_panel(shared.grad_out[which], grad_out);
    add_weighted_rows<S>(grad_v, weights, shared.grad_out[which], v.columns - column);
    bring_panel(shared.q[which], q);
    add_weighted_rows<S>(grad_k, grads, shared.q[which], k.columns - column);
    __syncthreads();
    now = next;
  }
  slots.finish(which);
  if (params.grad_k.data)
    store_totals<S>(grad_k, params.grad_k, n, key_head, row, params.keys, column, params.width,
                    [&](int) { return params.scale; });
  if (params.grad_v.data)
    store_totals<S>(grad_v, params.grad_v, n, key_head, row, params.keys, column,
                    params.value_width, [&](int) { return factor; });
}

}  // namespace pyneural::attention
