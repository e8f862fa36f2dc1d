// The backward on CUDA, from the weights P that each block computes again. Notation of notation.h;
// dO is grad_out.
//
// One kernel owns tiles of queries and gives grad_q, one owns tiles of keys and gives the other
// two, for all heads that share them: every sum has one owner and one order, hence the same bits on
// every run. Where there are few tiles, what a tile goes through is split in parts among blocks,
// and a second kernel adds up their sums in order.
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
  using Masks = typename QueryTile<S>::Masks;
  typename S::RowTile q;
  typename S::RowTile grad_out;
  typename S::ColumnTile k[2];
  typename S::ColumnTile v[2];
  typename Masks::Tile masks[2];
  KeepTile<S::kRows> keep[2];
  CopyBarrier barriers[2];
};

// Blocks of a multiprocessor for which there must be registers: three of narrow rows of halves
// where shared memory holds as many, on every GPU that the code is for. One of Blackwell's two
// kinds has less.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
template <class S>
constexpr int kQueryGradientBlocks = sizeof(typename S::T) == 2 && S::kWidth <= 64 ? 3 : 2;
#else
template <class S>
constexpr int kQueryGradientBlocks = 2;
#endif

// A block owns a tile of queries and kWidth columns of dQ.
template <class S>
__global__ void __launch_bounds__(S::kThreads, kQueryGradientBlocks<S>)
    query_gradient_kernel(const __grid_constant__ AttentionParams<typename S::T> params,
                          const __grid_constant__ TileMaps maps) {
  using Accumulator = typename S::Accumulator;
  auto& shared = *reinterpret_cast<QueryGradientShared<S>*>(shared_memory);
  PipelineStages<S> stages(maps, shared.barriers);
  const QueryTile<S> tile(params, maps, params.width);
  const auto masks = [&](int stage) { return masks_of(shared, stage, params.keeps_added); };
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
      tile.keys_from(tile.begin, masks(0)),
      [&](const ColumnBlock& keys, int stage) {
        return tile.keys_from(keys.first + S::kColumns, masks(stage));
      },
      [&](const ColumnBlock& keys, int stage) {
        stages.copy_async(stage, shared.k[stage], tile.k, keys.first, 0);
        stages.copy_async(stage, shared.v[stage], tile.v, keys.first, 0);
        if (params.seed)
          shared.keep[stage].template draw<S::kThreads>(dropout_of(params), tile.first_score,
                                                        keys.first);
      },
      [&](const ColumnBlock& keys, int stage) {
        typename S::Scores ds, dp;  // ds: scores at first
        multiply_transposed<S>(ds, shared.q, tile.q, tile.row, shared.k[stage], tile.k, keys.first);
        tile.to_scores(ds, keys, masks(stage));
        multiply_transposed<S>(dp, shared.grad_out, grad_out, tile.row, shared.v[stage], tile.v,
                               keys.first);
        PYNEURAL_UNROLL
        for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
        for (int e = 0; e < 4; ++e) {
          dp[j][e] *= static_cast<Accumulator>(params.dropout.factor);
          if (params.seed &&
              !shared.keep[stage].keeps(row_of(e), keys.first + j * 8 + column_of(e)))
            dp[j][e] = 0;
          ds[j][e] = grad_score(weight(ds[j][e], lse[e / 2]), dp[j][e], delta[e / 2]);
        }
        const int64_t used = tile.k.columns - tile.column;
        if (params.width > S::kWidth)
          copy_tile<S>(shared.k[stage], tile.k, keys.first, tile.column);
        if (!tile.is_full(keys, masks(stage))) {  // an infinity or NaN is masked or made dS NaN
          __syncthreads();
          replace_not_finite<S, NotFinite::cleared>(shared.k[stage], used);
        }
        add_product<S>(dq, ds, shared.k[stage], used);
      });
  if (params.parts > 1)
    store_output<S>(dq,
                    rows_of_part(params.part_grads, part_of_block<S>(params, params.width),
                                 params.batch, params.heads, params.queries, params.width),
                    tile.n, tile.h, tile.row, params.queries, tile.column, params.width,
                    [](int) { return Accumulator(1); });
  else
    store_output<S>(dq, params.grad_q, tile.n, tile.h, tile.row, params.queries, tile.column,
                    params.width, [&](int) { return params.scale; });
}

template <class S>
struct KeyGradientShared {
  using Masks = MaskBlock<typename S::Accumulator, S::kColumns, S::kRows>;
  typename S::RowTile k;
  typename S::RowTile v;
  typename S::ColumnTile q[2];
  typename S::ColumnTile grad_out[2];
  typename S::Accumulator lse[2][S::kColumns], delta[2][S::kColumns];
  typename Masks::Tile masks[2];
  KeepTile<S::kColumns> keep[2];
  CopyBarrier barriers[2];
};

// Blocks that share the columns of both gradients.
template <class S>
__host__ __device__ int64_t key_panels(const AttentionParams<typename S::T>& params) {
  const int64_t of_k = panels_of<S>(params.width), of_v = panels_of<S>(params.value_width);
  return of_k > of_v ? of_k : of_v;
}
// Blocks that compute both, of all tiles of keys for one part of the queries.
template <class S>
__host__ __device__ int64_t key_blocks(const AttentionParams<typename S::T>& params) {
  return params.batch * params.heads / params.group * tiles_of(params.keys, S::kRows) *
         key_panels<S>(params);
}

// A block of queries of one of the heads that share the keys, and how many are left of the part,
// itself included.
struct QueryBlock {
  int64_t first, head, left;

  __device__ bool is_empty() const { return left <= 0; }
};

// What adds up the parts of a gradient in their order.
template <class T>
struct JoinedGradient {
  const typename AttentionParams<T>::Accumulator* parts;  // [count, batch, heads, rows, columns]
  int64_t count, batch, heads, rows, columns;
  typename AttentionParams<T>::Accumulator factor;
  Rows<T> to;
  bool is_of_v;

  __host__ __device__ int64_t size() const { return batch * heads * rows * columns; }
};

// Element e of dV of a key, by plain multiply-adds: where dO is infinite it may be infinite, while
// the tensor cores, which take dO in parts or an infinity times a weight of 0, give NaN. Slow, for
// it is rarely needed.
template <class T>
__device__ typename AttentionParams<T>::Accumulator compute_value_gradient_again(
    const AttentionParams<T>& params, int64_t n, int64_t key_head, int64_t key, int64_t e) {
  using Accumulator = typename AttentionParams<T>::Accumulator;
  const auto row_of_head = [&](const auto& of, int64_t head, int64_t row) {
    return of.data + n * of.batch_stride + head * of.head_stride + row * of.row_stride;
  };
  const T* const k = row_of_head(params.k, key_head, key);
  Accumulator sum = 0;
  for (int64_t h = key_head * params.group; h < (key_head + 1) * params.group; ++h) {
    const Mask<T> mask(params, n, h);
    for (int64_t query = 0; query < params.queries; ++query) {
      const T* const q = row_of_head(params.q, h, query);
      Accumulator product = 0;
      for (int64_t d = 0; d < params.width; ++d) product += load(q + d) * load(k + d);
      const Accumulator score = mask.plain_score(product, query, key);
      const int64_t at = (n * params.heads + h) * params.queries + query;
      if (score == -infinity<Accumulator>() ||
          (params.seed && !keeps_weight(dropout_of(params), at, key)))
        continue;
      sum += weight(score, params.lse[at] * kLog2E<Accumulator>) *
             load(row_of_head(params.grad_out, h, query) + e);
    }
  }
  return sum * static_cast<Accumulator>(params.dropout.factor);
}

// Computes the elements of dV of the block's tile of keys that are NaN once more.
template <class S>
__device__ void compute_nan_again(const AttentionParams<typename S::T>& params, int64_t n,
                                  int64_t key_head, int64_t row, int64_t column) {
  const auto& to = params.grad_v;
  _Pragma("unroll 1") for (int i = 0; i < S::kWidth / 2; ++i) {
    const int64_t key = row + row_of(i % 4), e = column + i / 4 * 8 + column_of(i % 4);
    if (key >= params.keys || e >= params.value_width) continue;
    auto* const element =
        to.data + n * to.batch_stride + key_head * to.head_stride + key * to.row_stride + e;
    if (load(element) != load(element))
      store(compute_value_gradient_again(params, n, key_head, key, e), element);
  }
}

constexpr int kJoinThreads = 256;

// A thread for each element.
template <class T>
__global__ void __launch_bounds__(kJoinThreads)
    join_gradient_kernel(const __grid_constant__ AttentionParams<T> params,
                         const __grid_constant__ JoinedGradient<T> of) {
  using Accumulator = typename AttentionParams<T>::Accumulator;
  const int64_t size = of.size(), at = static_cast<int64_t>(blockIdx.x) * kJoinThreads +
                                       static_cast<int64_t>(threadIdx.x);
  if (at >= size) return;
  Accumulator sum = 0;
  for (int64_t part = 0; part < of.count; ++part) sum += of.parts[part * size + at];
  sum *= of.factor;
  const int64_t column = at % of.columns, row = at / of.columns % of.rows;
  const int64_t h = at / of.columns / of.rows % of.heads, n = at / of.columns / of.rows / of.heads;
  if (of.is_of_v && sum != sum) sum = compute_value_gradient_again(params, n, h, row, column);
  store(sum, of.to.data + n * of.to.batch_stride + h * of.to.head_stride + row * of.to.row_stride +
                 column);
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
  const int64_t part = blockIdx.x / key_blocks<S>(params);
  const int64_t in_part = blockIdx.x % key_blocks<S>(params);
  const int64_t block = in_part / panels, column = in_part % panels * S::kWidth;
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
  const auto masks_of_stage = [&](int stage) {
    return masks_of(shared, stage, params.keeps_added);
  };
  const auto mask_of = [&](int64_t head) {
    return Mask<T>(params, n, key_head * params.group + head);
  };
  const Accumulator factor = static_cast<Accumulator>(params.dropout.factor);
  // Queries before a key do not see it.
  const int64_t begin = params.is_causal ? row / S::kColumns * S::kColumns : 0;
  const auto after = [&](const QueryBlock& block) {
    const int64_t first = block.first + S::kColumns;
    return first < params.queries ? QueryBlock{first, block.head, block.left - 1}
                                  : QueryBlock{begin, block.head + 1, block.left - 1};
  };
  // The first that is not empty, with its mask.
  const auto seen_from = [&](QueryBlock block, int stage) {
    while (!block.is_empty() && !mask_of(block.head).read(block.first, row, masks_of_stage(stage)))
      block = after(block);
    return block;
  };
  // The blocks of all heads are divided evenly among the parts.
  const int64_t of_head =
      begin < params.queries ? tiles_of(params.queries - begin, S::kColumns) : 1;
  const int64_t of_heads = begin < params.queries ? params.group * of_head : 0;
  const int64_t first_block = part * of_heads / params.parts;
  const QueryBlock start = {begin + first_block % of_head * S::kColumns, first_block / of_head,
                            (part + 1) * of_heads / params.parts - first_block};

  typename S::Output dk = {}, dv = {};
  stages.copy_async(0, shared.k, k, row, 0);
  stages.copy_async(0, shared.v, v, row, 0);
  stages.run(
      seen_from(start, 0),
      [&](const QueryBlock& queries, int stage) { return seen_from(after(queries), stage); },
      [&](const QueryBlock& queries, int stage) {
        stages.copy_async(stage, shared.q[stage], q_of(queries.head), queries.first, 0);
        stages.copy_async(stage, shared.grad_out[stage], grad_out_of(queries.head), queries.first,
                          0);
        const int64_t h = key_head * params.group + queries.head;
        const int64_t first_score = (n * params.heads + h) * params.queries + queries.first;
        for (int i = static_cast<int>(threadIdx.x); i < S::kColumns; i += S::kThreads) {
          const bool is_inside = queries.first + i < params.queries;
          shared.lse[stage][i] = is_inside ? params.lse[first_score + i] * kLog2E<Accumulator>
                                           : infinity<Accumulator>();
          shared.delta[stage][i] = is_inside ? params.delta[first_score + i] : 0;
        }
        if (params.seed)
          shared.keep[stage].template draw<S::kThreads>(dropout_of(params), first_score, row);
      },
      [&](const QueryBlock& queries, int stage) {
        const int64_t first = queries.first;
        const Matrix<T> q = q_of(queries.head), grad_out = grad_out_of(queries.head);
        const Mask<T> mask = mask_of(queries.head);
        typename S::Scores p, ds;  // transposed; the scores and dP at first
        multiply_transposed<S>(p, shared.k, k, row, shared.q[stage], q, first);
        const auto masks = masks_of_stage(stage);
        const auto to_scores = [&](auto adds) {
          PYNEURAL_UNROLL
          for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
          for (int q = 0; q < 2; ++q) {
            const int query = j * 8 + column_of(q), i = row_of(0);
            const auto added = mask.added(masks, first, query, row, i);
            const uint32_t seen = mask.seen(masks, first, query, row, i / 32) >> i % 32;
            PYNEURAL_UNROLL
            for (int r = 0; r < 2; ++r) {
              Accumulator& score = p[j][2 * r + q];
              if (!(seen >> 8 * r & 1))
                score = -infinity<Accumulator>();
              else
                score = adds ? added.score(score, 8 * r) : mask.score(score);
            }
          }
        };
        if (mask.is_full(first, row, masks)) {
          PYNEURAL_UNROLL
          for (auto& fragment : p) PYNEURAL_UNROLL
          for (Accumulator& score : fragment) score = mask.score(score);
        } else if (mask.adds(masks)) {
          to_scores(std::true_type{});
        } else {
          to_scores(std::false_type{});
        }
        multiply_transposed<S>(ds, shared.v, v, row, shared.grad_out[stage], grad_out, first);
        PYNEURAL_UNROLL
        for (int j = 0; j < S::kColumns / 8; ++j) PYNEURAL_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int query = j * 8 + column_of(e);
          const Accumulator before_dropout = weight(p[j][e], shared.lse[stage][query]);
          const bool is_kept = !params.seed || shared.keep[stage].keeps(query, row + row_of(e));
          p[j][e] = is_kept ? before_dropout : Accumulator(0);
          ds[j][e] = grad_score(before_dropout, is_kept ? ds[j][e] * factor : Accumulator(0),
                                shared.delta[stage][query]);
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
  const auto store = [&](const typename S::Output& from, const auto& to, int64_t width,
                         Accumulator scale) {
    store_output<S>(from, to, n, key_head, row, params.keys, column, width,
                    [&](int) { return scale; });
  };
  if (params.parts > 1) {
    const auto store_part = [&](const typename S::Output& from, Accumulator* to, int64_t width) {
      store(from, rows_of_part(to, part, params.batch, key_heads, params.keys, width), width, 1);
    };
    if (params.grad_k.data) store_part(dk, params.part_grads, params.width);
    if (params.grad_v.data) store_part(dv, params.part_grad_v(), params.value_width);
    return;
  }
  if (params.grad_k.data) store(dk, params.grad_k, params.width, params.scale);
  if (params.grad_v.data) store(dv, params.grad_v, params.value_width, factor);
  bool has_nan = false;
  PYNEURAL_UNROLL
  for (const auto& fragment : dv) PYNEURAL_UNROLL
  for (const Accumulator sum : fragment) has_nan |= sum != sum;
  if (has_nan && params.grad_v.data) compute_nan_again<S>(params, n, key_head, row, column);
}

}  // namespace pyneural::attention::cuda
