// Masks on CUDA: which scores of a tile take part, by the mask, the causal limit and dropout.
#pragma once

#include "attention_tile.cuh"
#include "notation.h"

namespace pyneural::attention::cuda {

template <class Accumulator>
__device__ Accumulator infinity() {
  return static_cast<Accumulator>(__builtin_huge_val());
}

__device__ inline float exp2(float x) { return exp2f(x); }
__device__ inline double exp2(double x) { return ::exp2(x); }

// The mask of one head, its causal limit and the end of queries and keys.
template <class T>
class Mask {
 public:
  using Accumulator = typename AttentionParams<T>::Accumulator;

  __device__ Mask(const AttentionParams<T>& params, int64_t n, int64_t h)
      : params_(params),
        start_(n * params.mask_strides[0] + h * params.mask_strides[1]),
        base_start_(n * params.base_strides[0] + h * params.base_strides[1]),
        factor_(params.scale * kLog2E<Accumulator>) {}

  // The mask of a block of queries x keys, found by all threads of the block together.
  template <int threads>
  __device__ BlockMask block_mask(int64_t query, int queries, int64_t key, int keys) const {
    const bool is_inside = query + queries <= params_.queries && key + keys <= params_.keys &&
                           (!params_.is_causal || key + keys - 1 <= query);
    if (!params_.allowed && !params_.added) return is_inside ? BlockMask::full : BlockMask::partial;
    const int rows = params_.mask_strides[2] == 0 ? 1 : queries;
    const int columns = params_.mask_strides[3] == 0 ? 1 : keys;
    bool any = false, all = is_inside && params_.allowed;
    for (int i = static_cast<int>(threadIdx.x); i < rows * columns; i += threads) {
      const int64_t row = query + (columns == 1 ? i : i / keys);
      const int64_t column = key + (columns == 1 ? 0 : i % keys);
      const bool takes_part =
          row < params_.queries && column < params_.keys && is_allowed(row, column);
      any |= takes_part;
      all &= takes_part;
    }
    if (!__syncthreads_or(any)) return BlockMask::empty;
    return __syncthreads_and(all) ? BlockMask::full : BlockMask::partial;
  }

  // The score of a product q k, in units of log2: -inf where the key is masked, whatever the
  // product.
  __device__ Accumulator score(Accumulator product, int64_t query, int64_t key) const {
    if (query >= params_.queries || key >= params_.keys || (params_.is_causal && key > query))
      return -infinity<Accumulator>();
    const Accumulator score = product * factor_;
    if (params_.allowed) return params_.allowed[at(query, key)] ? score : -infinity<Accumulator>();
    if (!params_.added) return score;
    const Accumulator added = params_.added[at(query, key)];
    if (added == -infinity<Accumulator>()) return added;
    const Accumulator base =
        params_.base ? params_.base[base_start_ + query * params_.base_strides[2]] : Accumulator(0);
    if (base == 0) return score + added * kLog2E<Accumulator>;
    // Rounded as torch does, which adds before it finds the maximum.
    return (product * params_.scale + added - base) * kLog2E<Accumulator>;
  }
  // The same in a full block.
  __device__ Accumulator score(Accumulator product) const { return product * factor_; }

 private:
  __device__ int64_t at(int64_t query, int64_t key) const {
    return start_ + query * params_.mask_strides[2] + key * params_.mask_strides[3];
  }
  __device__ bool is_allowed(int64_t query, int64_t key) const {
    return params_.allowed ? params_.allowed[at(query, key)]
                           : params_.added[at(query, key)] != -infinity<Accumulator>();
  }

  const AttentionParams<T>& params_;
  int64_t start_, base_start_;
  Accumulator factor_;
};

// Which weights dropout keeps, for `queries` queries and the kDropoutBlock keys that hold a tile:
// bit w of [query][counter] belongs to key 16 w + counter.
template <int queries>
struct KeepTile {
  uint8_t bits[queries][kDropoutCounters];

  // row: of the first query among the rows (n H + h) L + l of the scores.
  template <int threads>
  __device__ void draw(const Dropout& dropout, int64_t row, int64_t key) {
    for (int i = static_cast<int>(threadIdx.x); i < queries * kDropoutCounters; i += threads) {
      const int query = i / kDropoutCounters, counter = i % kDropoutCounters;
      uint32_t words[4];
      dropout.draw(row + query, key / kDropoutBlock, counter, words);
      unsigned kept = 0;
      for (int w = 0; w < 4; ++w) kept |= static_cast<unsigned>(dropout.keeps(words[w])) << w;
      bits[query][counter] = static_cast<uint8_t>(kept);
    }
  }
  // key: index among all keys.
  __device__ bool keeps(int query, int64_t key) const {
    const int in_block = static_cast<int>(key % kDropoutBlock);
    return bits[query][in_block % kDropoutCounters] >> (in_block / kDropoutCounters) & 1;
  }
};

// The same of one weight. row: among all rows of the scores.
__device__ inline bool keeps_weight(const Dropout& dropout, int64_t row, int64_t key) {
  const int in_block = static_cast<int>(key % kDropoutBlock);
  uint32_t words[4];
  dropout.draw(row, key / kDropoutBlock, in_block % kDropoutCounters, words);
  return dropout.keeps(words[in_block / kDropoutCounters]);
}

// Called where it is used: its seed is read again for a step, and no register holds it between.
template <class T>
__device__ Dropout dropout_of(const AttentionParams<T>& params) {
  Dropout dropout = params.dropout;
  if (params.seed) dropout.seed = static_cast<uint64_t>(*params.seed);
  return dropout;
}

// The rows [first, first + kColumns) of the other kind than the tile's, one step of its pipeline.
struct ColumnBlock {
  int64_t first;
  BlockMask block_mask;

  __device__ bool is_empty() const { return block_mask == BlockMask::empty; }
};
// The first from `first` on that is not empty; mask_of(first) is the mask of a block.
template <class MaskOf>
__device__ ColumnBlock next_block(int64_t first, int64_t end, int64_t step, const MaskOf& mask_of) {
  for (; first < end; first += step) {
    const ColumnBlock block = {first, mask_of(first)};
    if (!block.is_empty()) return block;
  }
  return {end, BlockMask::empty};
}

}  // namespace pyneural::attention::cuda
