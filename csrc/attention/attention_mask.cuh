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

// The mask of a block of queries x keys, read from global memory once: a bit for each key that a
// query sees, in one row for all queries where the mask is broadcast; and what each warp found.
template <int queries, int keys>
struct MaskTile {
  static constexpr int kWords = keys / 32;  // of a row
  enum Found : uint8_t { masks = 1, adds = 2 };

  uint32_t words[queries][kWords];
  alignas(4) uint8_t of_warps[4];  // sets of Found

  // Whether any warp found it.
  __device__ bool has(Found what) const {
    return *reinterpret_cast<const uint32_t*>(of_warps) & 0x01010101u * what;
  }
};

// What a float mask adds to the scores of a block. The rows are padded: the lanes of a warp that
// read from eight keys of four queries find them in different banks.
template <class Accumulator, int queries, int keys>
struct AddedTile {
  Accumulator values[queries][keys + 4];
};

// Both, where they are in shared memory; `added` is null where it has no room for them.
template <class Accumulator, int queries, int keys>
struct MaskBlock {
  static constexpr int kQueries = queries, kKeys = keys, kWords = keys / 32;
  using Tile = MaskTile<queries, keys>;
  using Added = AddedTile<Accumulator, queries, keys>;
  Tile* tile;
  Added* added;
};
// The block of a stage, of a kernel's Shared; what is added follows Shared in memory.
template <class Shared>
__device__ typename Shared::Masks masks_of(Shared& shared, int stage, bool keeps_added) {
  auto* const added = reinterpret_cast<typename Shared::Masks::Added*>(&shared + 1);
  return {&shared.masks[stage], keeps_added ? added + stage : nullptr};
}

// What a float mask adds to the scores of a query: of key j, in memory of whatever kind.
template <class Accumulator>
struct AddedRow {
  const Accumulator* from;
  int64_t stride;
  Accumulator base, scale;

  // Of a product q k, in units of log2. Rounded as torch does, which adds before it finds the
  // maximum.
  __device__ Accumulator score(Accumulator product, int j) const {
    return (product * scale + from[j * stride] - base) * kLog2E<Accumulator>;
  }
};

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

  // Reads the mask of a block of queries x keys, all threads together. Returns to all, after a
  // barrier, whether any key is seen; who reads the tile needs another barrier before. Without a
  // mask there is nothing to read.
  template <class Block>
  __device__ bool read(int64_t query, int64_t key, const Block& to) const {
    using Found = typename Block::Tile::Found;
    if (!is_given()) return true;
    constexpr int kWords = Block::kWords, kWarps = sizeof(to.tile->of_warps);
    constexpr int kAtOnce = 4;  // loads of a thread
    const int words = (is_same_for_all_queries() ? 1 : Block::kQueries) * kWords;
    const int warp = warp_of_block(), lane = lane_of_warp();
    uint32_t seen = 0;
    bool masks = false, adds = false;
    for (int begin = 0; begin < words; begin += kAtOnce * kWarps) {
      bool is_seen[kAtOnce];
      PYNEURAL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        const int word = begin + i * kWarps + warp;
        const int64_t row = query + word / kWords, column = key + word % kWords * 32 + lane;
        is_seen[i] = word < words && row < params_.queries && column < params_.keys;
        if (!is_seen[i]) continue;
        if (params_.allowed) {
          is_seen[i] = params_.allowed[at(row, column)];
        } else {
          const Accumulator added = params_.added[at(row, column)];
          is_seen[i] = added != -infinity<Accumulator>();
          adds |= is_seen[i] && (added != 0 || base_of(row) != 0);
          if (to.added) to.added->values[word / kWords][word % kWords * 32 + lane] = added;
        }
      }
      PYNEURAL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        const int word = begin + i * kWarps + warp;
        const uint32_t bits = __ballot_sync(0xffffffffu, is_seen[i]);
        if (word >= words) continue;
        if (lane == 0) to.tile->words[word / kWords][word % kWords] = bits;
        seen |= bits;
        masks |= bits != 0xffffffffu;
      }
    }
    // With a row for all queries each may still have a base of its own, by the causal limit.
    adds |= is_same_for_all_queries() && params_.base && params_.base_strides[2] != 0;
    adds = __ballot_sync(0xffffffffu, adds) != 0;
    if (lane == 0)
      to.tile->of_warps[warp] =
          static_cast<uint8_t>((masks ? Found::masks : 0) | (adds ? Found::adds : 0));
    return __syncthreads_or(seen != 0);
  }

  // Whether every key of a block takes part, and nothing is added to a score.
  template <class Block>
  __device__ bool is_full(int64_t query, int64_t key, const Block& block) const {
    using Found = typename Block::Tile::Found;
    return query + Block::kQueries <= params_.queries && key + Block::kKeys <= params_.keys &&
           (!params_.is_causal || key + Block::kKeys - 1 <= query) &&
           (!is_given() || !(block.tile->has(Found::masks) || block.tile->has(Found::adds)));
  }
  // Whether something is added to a score of a block.
  template <class Block>
  __device__ bool adds(const Block& block) const {
    return params_.added && block.tile->has(Block::Tile::Found::adds);
  }
  // Whether query `i` of a block that begins at `query` and `key` sees its keys from 32 word on, a
  // bit for each.
  template <class Block>
  __device__ uint32_t seen(const Block& block, int64_t query, int i, int64_t key, int word) const {
    if (query + i >= params_.queries) return 0;
    const int64_t first = key + 32 * word;
    const int64_t end = params_.is_causal ? min(params_.keys, query + i + 1) : params_.keys;
    const int64_t inside = end - first;
    const uint32_t bits = inside >= 32 ? 0xffffffffu : inside <= 0 ? 0u : (1u << inside) - 1;
    return is_given() ? bits & block.tile->words[mask_row(i)][word] : bits;
  }
  // What is added to the scores of query `i` of such a block from its key `j` on, where it adds.
  template <class Block>
  __device__ AddedRow<Accumulator> added(const Block& block, int64_t query, int i, int64_t key,
                                         int j) const {
    const bool is_kept = block.added;
    return {is_kept ? &block.added->values[mask_row(i)][j] : params_.added + at(query + i, key + j),
            is_kept ? 1 : params_.mask_strides[3],
            query + i < params_.queries ? base_of(query + i) : Accumulator(0), params_.scale};
  }

  // The score of a product q k, in units of log2, of a key that takes part and to which nothing is
  // added.
  __device__ Accumulator score(Accumulator product) const { return product * factor_; }
  // That of any key, where no block of the mask was read: -inf where it is masked.
  __device__ Accumulator plain_score(Accumulator product, int64_t query, int64_t key) const {
    if ((params_.is_causal && key > query) || (params_.allowed && !params_.allowed[at(query, key)]))
      return -infinity<Accumulator>();
    if (!params_.added) return score(product);
    const AddedRow<Accumulator> row = {params_.added + at(query, key), 0, base_of(query),
                                       params_.scale};
    return *row.from == -infinity<Accumulator>() ? *row.from : row.score(product, 0);
  }

 private:
  __device__ bool is_given() const { return params_.allowed || params_.added; }
  __device__ bool is_same_for_all_queries() const { return params_.mask_strides[2] == 0; }
  __device__ int mask_row(int query) const { return is_same_for_all_queries() ? 0 : query; }
  __device__ int64_t at(int64_t query, int64_t key) const {
    return start_ + query * params_.mask_strides[2] + key * params_.mask_strides[3];
  }
  __device__ Accumulator base_of(int64_t query) const {
    return params_.base ? params_.base[base_start_ + query * params_.base_strides[2]]
                        : Accumulator(0);
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
  int64_t first;  // -1 after the last

  __device__ bool is_empty() const { return first < 0; }
};
// The first from `first` on that is not empty: is_seen(first) reads the mask of a block.
template <class IsSeen>
__device__ ColumnBlock next_block(int64_t first, int64_t end, int64_t step, const IsSeen& is_seen) {
  while (first < end && !is_seen(first)) first += step;
  return {first < end ? first : -1};
}

}  // namespace pyneural::attention::cuda
