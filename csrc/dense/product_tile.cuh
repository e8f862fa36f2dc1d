// A tile of a product by one block of threads, on tensor cores.
//
//   sum_k a(row, k) b(column, k)   for 128 rows and 128 columns
//
// Chunks of both operands go through shared memory, 64 bytes of each row at a time and two chunks
// in turn: while one is multiplied, the next is on its way in registers. A row of a chunk is 80
// bytes apart from the next, so that the 32 words that a warp reads at once, of 8 rows and 4 words,
// lie in 32 banks. 8 warps divide the tile between them, 64 x 32 each.
#pragma once

#include "../common/activate.cuh"
#include "../common/fragments.cuh"
#include "../common/matmul.cuh"
#include "dense_cuda.h"

namespace pyneural::dense {

constexpr int kProductRows = 128, kProductColumns = 128;
constexpr int kChunkWords = 16, kRowWords = 20;  // 4-byte words of a row, and with the gap
constexpr int kVectorBytes = 16;
constexpr int kWarpRows = 64, kWarpColumns = 32;
constexpr int kFragmentsM = kWarpRows / 16, kFragmentsN = kWarpColumns / 8;
constexpr int kVectorsAThread = kProductRows * kChunkWords * 4 / kVectorBytes / kThreads;

// Elements along k of a chunk.
template <class T>
constexpr int kChunk = kChunkWords * 4 / static_cast<int>(sizeof(T));

struct Chunk {
  alignas(kVectorBytes) uint32_t words[kProductRows][kRowWords];
};
struct Chunks {
  Chunk a[2], b[2];
};

// 16 bytes of an operand.
template <class T>
struct alignas(kVectorBytes) Vector {
  static constexpr int kSize = kVectorBytes / static_cast<int>(sizeof(T));
  T elements[kSize];
};

// What a thread carries of the next chunk of an operand whose elements are neighbours along k, or
// along its rows.
template <class T, Along along>
class Carrier {
 public:
  // row0: of the tile; end: rows of the operand; depth: where the split's part of k ends.
  __device__ Carrier(const Operand<T>& from, int64_t row0, int64_t end, int64_t depth)
      : from_(from), row0_(row0), end_(end), depth_(depth) {
    const int64_t lead = along == Along::k ? from.row_stride : from.k_stride;
    whole_vectors_ =
        lead % kSize == 0 && reinterpret_cast<uintptr_t>(from.data) % kVectorBytes == 0;
  }

  __device__ void load(int64_t k0) {
    for (int i = 0; i < kVectorsAThread; ++i) {
      const auto [row, k] = place(i);
      const int64_t r = row0_ + row, at = k0 + k;
      const int64_t left = along == Along::k ? depth_ - at : end_ - r;
      const bool inside = along == Along::k ? r < end_ : at < depth_;
      const T* const first = from_.at(r, at);
      if (inside && left >= kSize && whole_vectors_) {
        vectors_[i] = *reinterpret_cast<const Vector<T>*>(first);
      } else {
        for (int e = 0; e < kSize; ++e)
          vectors_[i].elements[e] = inside && e < left ? first[e] : T{};
      }
    }
  }

  __device__ void store(Chunk& to) const {
    for (int i = 0; i < kVectorsAThread; ++i) {
      const auto [row, k] = place(i);
      if constexpr (along == Along::k) {
        *reinterpret_cast<Vector<T>*>(element(to, row, k)) = vectors_[i];
      } else {
        for (int e = 0; e < kSize; ++e) *element(to, row + e, k) = vectors_[i].elements[e];
      }
    }
  }

 private:
  static constexpr int kSize = Vector<T>::kSize;
  struct Place {
    int row, k;
  };

  // The first element of the thread's i-th vector. Along k neighbouring threads have neighbouring
  // vectors. Along rows they have neighbouring k: they store to neighbouring words of shared
  // memory, where words of other rows would lie in the same bank, and read whole sectors.
  __device__ static Place place(int i) {
    const int v = i * kThreads + static_cast<int>(threadIdx.x);
    if constexpr (along == Along::k) {
      constexpr int kVectors = kChunk<T> / kSize;  // of a row
      return {v / kVectors, v % kVectors * kSize};
    } else {
      return {v / kChunk<T> * kSize, v % kChunk<T>};
    }
  }
  __device__ static T* element(Chunk& chunk, int row, int k) {
    return reinterpret_cast<T*>(chunk.words[row]) + k;
  }

  const Operand<T>& from_;
  int64_t row0_, end_, depth_;
  bool whole_vectors_;
  Vector<T> vectors_[kVectorsAThread];
};

// d += a b over the steps of a chunk, 8 words each, by the type of the elements.
constexpr int kSteps = kChunkWords / 8;
template <class T>
struct Multiply {
  __device__ static void run(float (&d)[4], const uint32_t (&a)[kSteps][4],
                             const uint32_t (&b)[kSteps][2], bool) {
    PYNEURAL_UNROLL
    for (int s = 0; s < kSteps; ++s) HalfFragments<T>::multiply(d, a[s], b[s]);
  }
};
// Tensor cores cut off what their sums do not hold, always towards zero. So that this does not add
// up over the depth, they sum a chunk alone, and rounded additions add the chunks.
template <>
struct Multiply<float> {
  __device__ static void run(float (&d)[4], const uint32_t (&a)[kSteps][4],
                             const uint32_t (&b)[kSteps][2], bool with_tf32) {
    float sum[4] = {};
    PYNEURAL_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      uint32_t a_high[4], b_high[2], a_low[4], b_low[2];
      split(a[s], a_high, a_low);
      split(b[s], b_high, b_low);
      if (!with_tf32) {
        tensor_core::multiply_tf32(sum, a_low, b_high);
        tensor_core::multiply_tf32(sum, a_high, b_low);
      }
      tensor_core::multiply_tf32(sum, a_high, b_high);
    }
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) d[q] += sum[q];
  }

 private:
  template <int count>
  __device__ static void split(const uint32_t (&words)[count], uint32_t (&high)[count],
                               uint32_t (&low)[count]) {
    for (int i = 0; i < count; ++i) {
      const SplitFloat parts = split_tf32(tensor_core::as_float(words[i]));
      high[i] = parts.high;
      low[i] = parts.low;
    }
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
// at a time, those beyond the result's end included.
template <Along along_a, Along along_b, class T, class Use>
__device__ void product_tile(const ProductParams<T>& params, int64_t row0, int64_t column0,
                             int64_t k_begin, int64_t k_end, Chunks& chunks, const Use& use) {
  Carrier<T, along_a> a(params.a, row0, params.rows, k_end);
  Carrier<T, along_b> b(params.b, column0, params.columns, k_end);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int m0 = warp % 2 * kWarpRows, n0 = warp / 2 * kWarpColumns, g = lane / 4, t = lane % 4;
  float sum[kFragmentsM][kFragmentsN][4] = {};
  const auto fill_stage = [&](int which) {
    a.store(chunks.a[which]);
    b.store(chunks.b[which]);
  };
  a.load(k_begin);
  b.load(k_begin);
  fill_stage(0);
  __syncthreads();
  int now = 0;
  for (int64_t k0 = k_begin; k0 < k_end; k0 += kChunk<T>, now ^= 1) {
    const bool more = k0 + kChunk<T> < k_end;
    if (more) {
      a.load(k0 + kChunk<T>);
      b.load(k0 + kChunk<T>);
    }
    uint32_t right[kFragmentsN][kSteps][2];
    PYNEURAL_UNROLL
    for (int j = 0; j < kFragmentsN; ++j) PYNEURAL_UNROLL
    for (int s = 0; s < kSteps; ++s) PYNEURAL_UNROLL
    for (int q = 0; q < 2; ++q)
      right[j][s][q] = chunks.b[now].words[n0 + j * 8 + g][s * 8 + t + q * 4];
    PYNEURAL_UNROLL
    for (int i = 0; i < kFragmentsM; ++i) {
      uint32_t left[kSteps][4];  // of one i at a time: all would take the registers of the sums
      PYNEURAL_UNROLL
      for (int s = 0; s < kSteps; ++s) PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q)
        left[s][q] = chunks.a[now].words[m0 + i * 16 + g + q % 2 * 8][s * 8 + t + q / 2 * 4];
      PYNEURAL_UNROLL
      for (int j = 0; j < kFragmentsN; ++j)
        Multiply<T>::run(sum[i][j], left, right[j], params.with_tf32);
    }
    if (more) fill_stage(now ^ 1);
    __syncthreads();
  }
  PYNEURAL_UNROLL
  for (int i = 0; i < kFragmentsM; ++i) PYNEURAL_UNROLL
  for (int j = 0; j < kFragmentsN; ++j) {
    const Places<false> at{row0 + m0 + i * 16 + g, column0 + n0 + j * 8 + t * 2};
    Four<float> four;
    float total = 0;
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) {
      four.values[q] = sum[i][j][q];
      total += sum[i][j][q];
    }
    if constexpr (std::is_same_v<T, float>)
      if (total != total) four = replace_nan(params, at, k_begin, k_end, four);
    use(at, four);
  }
}

// The same for double, which has plain multiply-adds.
template <Along along_a, Along along_b, class Use>
__device__ void product_tile(const ProductParams<double>& params, int64_t row0, int64_t column0,
                             int64_t k_begin, int64_t k_end, ProductStage<double>& stage,
                             const Use& use) {
  const int64_t rows = params.rows - row0, columns = params.columns - column0;
  block_product_in_fours<along_a, along_b, double>(
      rows < kProductRows ? rows : kProductRows,
      columns < kProductColumns ? columns : kProductColumns, k_end - k_begin, stage,
      [&](int64_t k, int64_t m) { return *params.a.at(row0 + m, k_begin + k); },
      [&](int64_t k, int64_t n) { return *params.b.at(column0 + n, k_begin + k); },
      [&](int64_t m, int64_t n, int, const double (&sums)[4]) {
        use(Places<true>{row0 + m, column0 + n},
            Four<double>{{sums[0], sums[1], sums[2], sums[3]}});
      });
}

}  // namespace pyneural::dense
