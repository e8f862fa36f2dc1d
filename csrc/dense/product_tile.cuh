// A tile of a product by one block of threads, on tensor cores.
//
//   sum_k a(row, k) b(column, k)   for 128 rows and 128 columns
//
// Chunks of both operands go through shared memory, in kStages stages: while one is multiplied, the
// next ones are on their way. 8 warps divide the tile between them, 64 x 32 each.
#pragma once

#include "../common/activate.cuh"
#include "product_chunk.cuh"

namespace pyneural::dense {

constexpr int kProductRows = kChunkRows, kProductColumns = kChunkRows;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kFragmentsM = kWarpRows / 16, kFragmentsN = kWarpColumns / 8;
constexpr int kStages = 3;  // 48 KiB, what a block has without being set up for more

struct Stage {
  Chunk a, b;
};

// What is multiplied of 16 rows of a chunk, and d += a b for the 16 rows of a and 8 of the 16
// columns of b.
template <class T>
struct Multiplier {
  using Operand = Words<T>;
  __device__ static Operand make(const Words<T>& words) { return words; }
  __device__ static void multiply(Accumulator<T> (&d)[4], const Operand& a, const Operand& b,
                                  int half, bool) {
    PYNEURAL_UNROLL
    for (int s = 0; s < kSteps<T>; ++s) {
      const WordOf<T> right[2] = {b.of[s][half * 2], b.of[s][half * 2 + 1]};
      if constexpr (sizeof(T) == 8)
        tensor_core::multiply_float64(d, a.of[s], right);
      else
        HalfFragments<T>::multiply(d, a.of[s], right);
    }
  }
};
// Tensor cores cut off what their sums do not hold, always towards zero. So that this does not add
// up over the depth, they sum a chunk alone, and rounded additions add the chunks.
template <>
struct Multiplier<float> {
  struct Operand {
    Words<float> high, low;
  };
  __device__ static Operand make(const Words<float>& words) {
    Operand parts;
    PYNEURAL_UNROLL
    for (int s = 0; s < kSteps<float>; ++s) PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) {
      const SplitFloat two = split_tf32(tensor_core::as_float(words.of[s][q]));
      parts.high.of[s][q] = two.high;
      parts.low.of[s][q] = two.low;
    }
    return parts;
  }
  __device__ static void multiply(float (&d)[4], const Operand& a, const Operand& b, int half,
                                  bool with_tf32) {
    float sum[4] = {};
    if (!with_tf32) {  // the small ones first, while little is cut off
      PYNEURAL_UNROLL
      for (int s = 0; s < kSteps<float>; ++s) {
        multiply_step(sum, a.low, b.high, s, half);
        multiply_step(sum, a.high, b.low, s, half);
      }
    }
    PYNEURAL_UNROLL
    for (int s = 0; s < kSteps<float>; ++s) multiply_step(sum, a.high, b.high, s, half);
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) d[q] += sum[q];
  }

 private:
  __device__ static void multiply_step(float (&d)[4], const Words<float>& a, const Words<float>& b,
                                       int s, int half) {
    const uint32_t right[2] = {b.of[s][half * 2], b.of[s][half * 2 + 1]};
    tensor_core::multiply_tf32(d, a.of[s], right);
  }
};

// Where four elements of the result lie that a thread has: neighbours in a row, or as a fragment of
// a tensor core has them, pairs of neighbours in two rows.
template <bool in_a_row>
struct Places {
  int64_t first_row, first_column;
  __device__ int64_t row(int q) const { return in_a_row ? first_row : first_row + q / 2 * 8; }
  __device__ int64_t column(int q) const { return first_column + (in_a_row ? q : q % 2); }
  template <class T>
  __device__ bool are_in(const ProductParams<T>& params, int q) const {
    return row(q) < params.rows && column(q) < params.columns;
  }
};

// The sums with those that are NaN computed once more: see SplitFloat. Rarely called.
[[gnu::noinline]] __device__ inline Four<float> replace_nan(const ProductParams<float>& params,
                                                            Places<false> at, int64_t k_begin,
                                                            int64_t k_end, Four<float> sums) {
  for (int q = 0; q < 4; ++q)
    if (sums.values[q] != sums.values[q] && at.are_in(params, q))
      sums.values[q] =
          plain_product(params.a.at(at.row(q), k_begin), params.a.k_stride,
                        params.b.at(at.column(q), k_begin), params.b.k_stride, k_end - k_begin);
  return sums;
}

// All threads of the block call it; use(places, sums) takes the thread's elements of the tile, four
// at a time, those beyond the result's end included. chunks_at_once: use takes them each time when
// so many chunks are multiplied, and the sums begin again at 0; 0: when all are.
template <Along along_a, Along along_b, int chunks_at_once = 0, class T, class Use>
__device__ void product_tile(const ProductParams<T>& params, int64_t row0, int64_t column0,
                             int64_t k_begin, int64_t k_end, Stage (&stages)[kStages],
                             const Use& use) {
  Copier<T, along_a> a(params.a, row0, params.rows, k_begin);
  Copier<T, along_b> b(params.b, column0, params.columns, k_begin);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = lane_of_warp();
  const int m0 = warp % 2 * kWarpRows, n0 = warp / 2 * kWarpColumns;
  Accumulator<T> sum[kFragmentsM][kFragmentsN][4] = {};
  int64_t k_summed = k_begin;  // the first of those in the sums
  const auto give_sums = [&] {
    const int64_t next = k_summed + chunks_at_once * kChunk<T>;
    const int64_t last = chunks_at_once == 0 || next > k_end ? k_end : next;
    PYNEURAL_UNROLL
    for (int i = 0; i < kFragmentsM; ++i) PYNEURAL_UNROLL
    for (int j = 0; j < kFragmentsN; ++j) {
      const Places<false> at{row0 + m0 + i * 16 + lane / 4, column0 + n0 + j * 8 + lane % 4 * 2};
      Four<Accumulator<T>> four;
      Accumulator<T> total = 0;
      PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q) {
        four.values[q] = sum[i][j][q];
        total += sum[i][j][q];
      }
      if constexpr (std::is_same_v<T, float>)
        if (total != total) four = replace_nan(params, at, k_summed, last, four);
      use(at, four);
    }
  };
  // The stage that is multiplied, the one before it is filled; chunks on their way; k to be copied.
  int now = 1, ahead = 0;
  int chunks = 0;  // in the sums, where they are taken more than once
  constexpr int64_t kAhead = (kStages - 1) * kChunk<T>;
  for (int64_t rest = k_end - k_begin; rest > -kAhead; rest -= kChunk<T>) {
    if (ahead == kStages - 1) {
      wait_copies<kStages - 2>();
      __syncthreads();  // all have copied this chunk, and multiplied the one before it
    }
    if (rest > 0) {
      Stage& before = stages[now > 0 ? now - 1 : kStages - 1];
      a.copy(before.a, rest);
      b.copy(before.b, rest);
    }
    commit_copies();  // one group a chunk, with nothing in it after the last
    const Stage& stage = stages[now];
    now = now + 1 < kStages ? now + 1 : 0;
    if (ahead < kStages - 1) {
      ++ahead;
      continue;
    }
    typename Multiplier<T>::Operand right[kFragmentsN / 2];
    PYNEURAL_UNROLL
    for (int j = 0; j < kFragmentsN / 2; ++j)
      right[j] = Multiplier<T>::make(load_words<T, along_b, Side::right>(stage.b, n0 + j * 16));
    PYNEURAL_UNROLL
    for (int i = 0; i < kFragmentsM; ++i) {
      const auto left =
          Multiplier<T>::make(load_words<T, along_a, Side::left>(stage.a, m0 + i * 16));
      PYNEURAL_UNROLL
      for (int j = 0; j < kFragmentsN; ++j)
        Multiplier<T>::multiply(sum[i][j], left, right[j / 2], j % 2, params.with_tf32);
    }
    if constexpr (chunks_at_once > 0) {
      if (++chunks < chunks_at_once) continue;
      give_sums();
      PYNEURAL_UNROLL
      for (auto& row : sum) PYNEURAL_UNROLL
      for (auto& four : row) PYNEURAL_UNROLL
      for (auto& one : four) one = 0;
      chunks = 0;
      k_summed += chunks_at_once * kChunk<T>;
    }
  }
  if (chunks_at_once == 0 || chunks > 0) give_sums();
}

}  // namespace pyneural::dense
