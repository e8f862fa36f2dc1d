// The backward on CUDA, from the weights P that each block computes again. Notation of notation.h;
// dO is grad_out.
//
// One kernel owns tiles of queries and gives grad_q, one owns tiles of keys and gives the other
// two, for all heads that share them: every sum has one owner and one order, hence the same bits on
// every run.
#pragma once

#include "attention_finite.cuh"
#include "attention_query_tile.cuh"

namespace pyneural::attention::cuda {

constexpr int kDeltaRows = 4;  // of a block

// delta [N, H, L], one warp for each element.
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

// P from a score and lse, both in units of log2; 0 for a masked key, whatever the lse.
template <class Accumulator>
__device__ Accumulator weight(Accumulator score, Accumulator lse) {
  return score == -infinity<Accumulator>() ? Accumulator(0) : exp2(score - lse);
}
// dS from P and dP.
template <class Accumulator>
__device__ Accumulator grad_score(Accumulator p, Accumulator dp, Accumulator delta) {
  return p == 0 ? Accumulator(0) : p * (dp - delta);
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

// A block owns a tile of queries and kWidth columns of dQ.
template <class S>
__global__ void __launch_bounds__(S::kThreads)
    query_gradient_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                          const __grid_constant__ TileMaps maps) {
  using Accumulator = typename S::Accumulator;
  auto& shared = *reinterpret_cast<QueryGradientShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const QueryTile<S> tile(params, maps, params.width);
  const Matrix<typename S::T> grad_out(params.grad_out, maps.grad_out, tile.n, tile.h,
                                       params.queries, params.value_width);

  Accumulator lse[2], delta[2];  // of the lane's rows
  PYNEURAL_UNROLL
  for (int r = 0; r < 2; ++r) {
    const bool is_inside = tile.row + row_of(2 * r) < params.queries;
    const int64_t at = tile.first_score + row_of(2 * r);
    lse[r] = is_inside ? params.lse[at] * kLog2E<Accumulator> : infinity<Accumulator>();
    delta[r] = is_inside ? params.delta[at] : 0;
  }
  typename S::Output dq = {};
  stages.copy_async(0, shared.q, tile.q, tile.row, 0);
  stages.copy_async(0, shared.grad_out, grad_out, tile.row, 0);
  stages.run(
      tile.keys_from(0), [&](const ColumnBlock& keys) { return tile.keys_after(keys); },
      [&](const ColumnBlock& keys, int stage) {
        stages.copy_async(stage, shared.k[stage], tile.k, keys.first, 0);
        stages.copy_async(stage, shared.v[stage], tile.v, keys.first, 0);
      },
      [&](const ColumnBlock& keys, int stage) {
        if (params.seed)
          shared.keep.template draw<S::kThreads>(dropout_of(params), tile.first_score, keys.first);
        stages.wait(stage);
        typename S::Scores ds, dp;  // ds: scores at first
        multiply_transposed<S>(ds, shared.q, tile.q, tile.row, shared.k[stage], tile.k, keys.first);
        multiply_transposed<S>(dp, shared.grad_out, grad_out, tile.row, shared.v[stage], tile.v,
                               keys.first);
        PYNEURAL_UNROLL
        for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
        for (int e = 0; e < 4; ++e) {
          const Accumulator score = tile.score(ds[j][e], keys, j, e);
          dp[j][e] *= static_cast<Accumulator>(params.dropout.factor);
          if (params.seed && !shared.keep.keeps(row_of(e), keys.first + j * 8 + column_of(e)))
            dp[j][e] = 0;
          ds[j][e] = grad_score(weight(score, lse[e / 2]), dp[j][e], delta[e / 2]);
        }
        const int64_t used = tile.k.columns - tile.column;
        if (params.width > S::kWidth)
          copy_tile<S>(shared.k[stage], tile.k, keys.first, tile.column);
        if (keys.block_mask != BlockMask::full) {  // an infinity or NaN is masked or made dS NaN
          __syncthreads();
          replace_not_finite<S, NotFinite::cleared>(shared.k[stage], used);
        }
        add_product<S>(dq, ds, shared.k[stage], used);
      });
  store_output<S>(dq, params.grad_q, tile.n, tile.h, tile.row, params.queries, tile.column,
                  params.width, [&](int) { return params.scale; });
}

template <class S>
struct KeyGradientShared {
  typename S::RowTile k;
  typename S::RowTile v;
  typename S::ColumnTile q[2];
  typename S::ColumnTile grad_out[2];
  typename S::Accumulator lse[S::kColumns], delta[S::kColumns];
  KeepTile<S::kColumns> keep;
  CopyBarrier barriers[2];
};

// Blocks that share the columns of both gradients.
template <class S>
__host__ __device__ int64_t key_panels(const AttentionParams<typename S::T>& params) {
  const int64_t of_k = panels_of<S>(params.width), of_v = panels_of<S>(params.value_width);
  return of_k > of_v ? of_k : of_v;
}

// A block of queries of one of the heads that share the keys.
struct QueryBlock : ColumnBlock {
  int64_t head;
};

// Computes the elements of the block's dV that are NaN once more, by plain multiply-adds: where dO
// is infinite they may be infinite, while the tensor cores, which take dO in parts or an infinity
// times a weight of 0, give NaN. Slow, and in a loop, for it is rarely needed. k: the keys of
// key_head, of which the block's tile begins at `row`.
template <class S>
__device__ void compute_nan_again(const AttentionParams<typename S::T>& params,
                                  const Matrix<typename S::T>& k, int64_t n, int64_t key_head,
                                  int64_t row, int64_t column) {
  using Accumulator = typename S::Accumulator;
  const auto start = [&](const auto& of, int64_t h) {
    return of.data + n * of.batch_stride + h * of.head_stride;
  };
  const auto& to = params.grad_v;
  const auto &q = params.q, &grad_out = params.grad_out;
  _Pragma("unroll 1") for (int i = 0; i < S::kWidth / 2; ++i) {
    const int64_t key = row + row_of(i % 4), e = column + i / 4 * 8 + column_of(i % 4);
    if (key >= params.keys || e >= params.value_width) continue;
    auto* const element = start(to, key_head) + key * to.row_stride + e;
    if (load(element) == load(element)) continue;
    Accumulator sum = 0;
    for (int64_t h = key_head * params.group; h < (key_head + 1) * params.group; ++h) {
      const Mask<typename S::T> mask(params, n, h);
      for (int64_t query = 0; query < params.queries; ++query) {
        Accumulator product = 0;
        for (int64_t d = 0; d < params.width; ++d)
          product +=
              load(start(q, h) + query * q.row_stride + d) * load(k.data + key * k.stride + d);
        const Accumulator score = mask.score(product, query, key);
        const int64_t at = (n * params.heads + h) * params.queries + query;
        if (score == -infinity<Accumulator>() ||
            (params.seed && !keeps_weight(dropout_of(params), at, key)))
          continue;
        sum += weight(score, params.lse[at] * kLog2E<Accumulator>) *
               load(start(grad_out, h) + query * grad_out.row_stride + e);
      }
    }
    store(sum * static_cast<Accumulator>(params.dropout.factor), element);
  }
}

// A block owns a tile of keys and kWidth columns of dK and dV.
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
  const auto queries_from = [&](int64_t head, int64_t first) {
    for (; head < params.group; ++head, first = begin) {
      const Mask<T> mask = mask_of(head);
      const ColumnBlock found = next_block(first, params.queries, S::kColumns, [&](int64_t query) {
        return mask.template block_mask<S::kThreads>(query, S::kColumns, row, S::kRows);
      });
      if (!found.is_empty()) return QueryBlock{found, head};
    }
    return QueryBlock{{0, BlockMask::empty}, head};
  };

  typename S::Output dk = {}, dv = {};
  stages.copy_async(0, shared.k, k, row, 0);
  stages.copy_async(0, shared.v, v, row, 0);
  stages.run(
      queries_from(0, begin),
      [&](const QueryBlock& queries) {
        return queries_from(queries.head, queries.first + S::kColumns);
      },
      [&](const QueryBlock& queries, int stage) {
        stages.copy_async(stage, shared.q[stage], q_of(queries.head), queries.first, 0);
        stages.copy_async(stage, shared.grad_out[stage], grad_out_of(queries.head), queries.first,
                          0);
      },
      [&](const QueryBlock& queries, int stage) {
        const int64_t first = queries.first, h = key_head * params.group + queries.head;
        const int64_t first_score = (n * params.heads + h) * params.queries + first;
        for (int i = static_cast<int>(threadIdx.x); i < S::kColumns; i += S::kThreads) {
          const bool is_inside = first + i < params.queries;
          shared.lse[i] = is_inside ? params.lse[first_score + i] * kLog2E<Accumulator>
                                    : infinity<Accumulator>();
          shared.delta[i] = is_inside ? params.delta[first_score + i] : 0;
        }
        if (params.seed) shared.keep.template draw<S::kThreads>(dropout, first_score, row);
        stages.wait(stage);
        const Matrix<T> q = q_of(queries.head), grad_out = grad_out_of(queries.head);
        const Mask<T> mask = mask_of(queries.head);
        const bool is_full = queries.block_mask == BlockMask::full;
        typename S::Scores p, ds;  // transposed; the scores and dP at first
        multiply_transposed<S>(p, shared.k, k, row, shared.q[stage], q, first);
        multiply_transposed<S>(ds, shared.v, v, row, shared.grad_out[stage], grad_out, first);
        PYNEURAL_UNROLL
        for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int query = j * 8 + column_of(e);
          const int64_t key = row + row_of(e);
          const Accumulator score =
              is_full ? mask.score(p[j][e]) : mask.score(p[j][e], first + query, key);
          const Accumulator before_dropout = weight(score, shared.lse[query]);
          const bool is_kept = !params.seed || shared.keep.keeps(query, key);
          p[j][e] = is_kept ? before_dropout : Accumulator(0);
          ds[j][e] = grad_score(before_dropout, is_kept ? ds[j][e] * factor : Accumulator(0),
                                shared.delta[query]);
        }
        const auto copy_panel = [&](typename S::ColumnTile& to, const Matrix<T>& from) {
          if (from.columns > S::kWidth && column < from.columns)
            copy_tile<S>(to, from, first, column);
        };
        copy_panel(shared.grad_out[stage], grad_out);
        add_product<S>(dv, p, shared.grad_out[stage], v.columns - column);
        copy_panel(shared.q[stage], q);
        add_product<S>(dk, ds, shared.q[stage], k.columns - column);
      });
  const auto store = [&](const typename S::Output& from, const Rows<T>& to, int64_t width,
                         Accumulator scale) {
    if (to.data)
      store_output<S>(from, to, n, key_head, row, params.keys, column, width,
                      [&](int) { return scale; });
  };
  store(dk, params.grad_k, params.width, params.scale);
  store(dv, params.grad_v, params.value_width, factor);
  bool has_nan = false;
  PYNEURAL_UNROLL
  for (const auto& fragment : dv) PYNEURAL_UNROLL
  for (const Accumulator sum : fragment) has_nan |= sum != sum;
  if (has_nan && params.grad_v.data) compute_nan_again<S>(params, k, n, key_head, row, column);
}

}  // namespace pyneural::attention::cuda
