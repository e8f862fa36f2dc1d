// Which scores of a tile count on CUDA: the mask, the causal limit, dropout.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention {

enum class Share { none, some, all };

// log2(e) and its inverse: exponentials are powers of 2.
template <class Sum>
constexpr Sum kLog2E = static_cast<Sum>(1.4426950408889634074);
template <class Sum>
constexpr Sum kLn2 = static_cast<Sum>(0.69314718055994530942);
template <class Sum>
__device__ Sum infinity() {
  return static_cast<Sum>(__builtin_huge_val());
}

__device__ inline float power_of_2(float x) { return exp2f(x); }
__device__ inline double power_of_2(double x) { return exp2(x); }

// The mask of one head, its causal limit and the end of queries and keys.
template <class T>
class Mask {
 public:
  using Sum = typename AttentionParams<T>::Sum;

  __device__ Mask(const AttentionParams<T>& params, int64_t n, int64_t h)
      : params_(params),
        start_(n * params.mask_strides[0] + h * params.mask_strides[1]),
        factor_(params.scale * kLog2E<Sum>) {}

  // How many of queries x keys take part, decided by the threads of the block together.
  template <int threads>
  __device__ Share share(int64_t query, int queries, int64_t key, int keys) const {
    const bool is_inside = query + queries <= params_.queries && key + keys <= params_.keys &&
                           (!params_.is_causal || key + keys - 1 <= query);
    if (!params_.allowed && !params_.added) return is_inside ? Share::all : Share::some;
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
    if (!__syncthreads_or(any)) return Share::none;
    return __syncthreads_and(all) ? Share::all : Share::some;
  }

  // A product q k as a score, a power of 2: -inf where the key takes no part, whatever stood there.
  __device__ Sum score(Sum product, int64_t query, int64_t key) const {
    if (query >= params_.queries || key >= params_.keys || (params_.is_causal && key > query))
      return -infinity<Sum>();
    const Sum score = product * factor_;
    if (params_.allowed) return params_.allowed[at(query, key)] ? score : -infinity<Sum>();
    if (!params_.added) return score;
    const Sum added = params_.added[at(query, key)];
    return added == -infinity<Sum>() ? added : score + added * kLog2E<Sum>;
  }
  // The same in a tile of which all takes part.
  __device__ Sum score(Sum product) const { return product * factor_; }

 private:
  __device__ int64_t at(int64_t query, int64_t key) const {
    return start_ + query * params_.mask_strides[2] + key * params_.mask_strides[3];
  }
  __device__ bool is_allowed(int64_t query, int64_t key) const {
    return params_.allowed ? params_.allowed[at(query, key)]
                           : params_.added[at(query, key)] != -infinity<Sum>();
  }

  const AttentionParams<T>& params_;
  int64_t start_;
  Sum factor_;
};

// Which weights dropout keeps, of `queries` queries and the kDropoutBlock keys around a tile: bit w
// of [query][counter] is that of key 16 w + counter.
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
  // key: counted from the first of all.
  __device__ bool keeps(int query, int64_t key) const {
    const int in_block = static_cast<int>(key % kDropoutBlock);
    return bits[query][in_block % kDropoutCounters] >> (in_block / kDropoutCounters) & 1;
  }
};

template <class T>
__device__ Dropout dropout_of(const AttentionParams<T>& params) {
  Dropout dropout = params.dropout;
  if (params.seed) dropout.seed = static_cast<uint64_t>(*params.seed);
  return dropout;
}

// The next columns of a block of which some take part, from `first` on.
struct Columns {
  int64_t first;
  Share share;
};
template <class Find>
__device__ Columns next_columns(int64_t first, int64_t end, int64_t step, const Find& share_of) {
  for (; first < end; first += step) {
    const Share share = share_of(first);
    if (share != Share::none) return {first, share};
  }
  return {end, Share::none};
}

}  // namespace pyneural::attention
