// The products of a network's layers for a tile of rows, by one block of threads.
//
//   forward      z[o, n] = sum_i w[o, i] v[i, n]
//   transposed   u[i, n] = sum_o w[o, i] g[o, n]
//   gradient     dw[o, i] += sum_n g[o, n] v[i, n]
//
// Letters: O outputs of a layer, I inputs, n the tile's columns: 32, 64 or 128.
//
// A tile's values lie in a slab, unit by unit: its columns, and 16 bytes more, so that 8 units at
// the same columns lie in 32 banks. They are multiplied where they lie. Weights [O, I] go through
// two chunks of shared memory in turn: while one is multiplied, the next is on its way in
// registers, the first of the next product too. So a chunk costs one barrier.
//
// A product is computed 32 units at a time, 4 by each warp, of which a lane has 4, 2 or 1 columns,
// and k in order: the sums do not depend on the tile. Plain FMA units, in T: no TF32.
#pragma once

#include <cstdint>
#include <type_traits>

#include "activate.cuh"
#include "lane_sums.cuh"
#include "matmul.cuh"

namespace pyneural {

constexpr int kChunk = 32;  // outputs and inputs of a chunk of weights
constexpr int kTallestTile = 128;

// Elements that a thread loads and stores at once: 16 bytes.
template <class T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

// Vectors along a sum that are loaded before they are multiplied; of double more would not fit into
// the registers.
template <class T>
constexpr int kStepsAtOnce = sizeof(T) == 4 ? 2 : 1;

// From a unit of a slab to the next.
template <class T>
PYNEURAL_INLINE int unit_stride(int columns) {
  return columns + kVector<T>;
}

// Neighbouring elements, aligned to the size of all.
template <class T, int size>
struct alignas(size * sizeof(T)) Piece {
  T values[size];
};
template <int size, class T>
__device__ inline Piece<T, size> load_piece(const T* from) {
  return *reinterpret_cast<const Piece<T, size>*>(from);
}
// A layer's weights, in global memory.
template <class T>
struct Weights {
  const T* data;  // [O, I]
  int outputs, inputs;
};

template <class T>
using Chunk = T[kChunk][kChunk];  // [o][i]

template <class T>
struct WeightStage {
  alignas(16) Chunk<T> chunks[2];
};

// The chunks of weights on their way to shared memory.
template <class T>
class WeightChunks {
 public:
  explicit __device__ WeightChunks(WeightStage<T>& stage) : stage_(stage) {}

  // Into registers: outputs from o0 and inputs from i0 on, 0 beyond the last.
  __device__ void load(const Weights<T>& w, int o0, int i0) {
    const int i = i0 + static_cast<int>(threadIdx.x) % kChunk;
    PYNEURAL_UNROLL
    for (int q = 0; q < kEach; ++q) {
      const int o = o0 + row(q);
      carried_[q] = o < w.outputs && i < w.inputs ? w.data[int64_t{o} * w.inputs + i] : T(0);
    }
  }

  // From registers into shared memory. All threads of the block call it; what they have written
  // before is visible to all.
  __device__ const Chunk<T>& publish() {
    turn_ = !turn_;
    Chunk<T>& chunk = stage_.chunks[turn_];
    PYNEURAL_UNROLL
    for (int q = 0; q < kEach; ++q)
      chunk[row(q)][static_cast<int>(threadIdx.x) % kChunk] = carried_[q];
    __syncthreads();
    return chunk;
  }

 private:
  static constexpr int kEach = kChunk * kChunk / kThreads;
  __device__ static int row(int q) {
    return static_cast<int>(threadIdx.x) / kChunk + q * (kThreads / kChunk);
  }

  WeightStage<T>& stage_;
  T carried_[kEach];
  bool turn_ = false;
};

// Where four elements of a product are that a thread has, each with `each` columns.
template <class T, int each>
struct Place {
  static constexpr int kStride = 32 * each + kVector<T>;
  static constexpr int kPiece = each < kVector<T> ? each : kVector<T>;

  int first_unit, first_column, units;  // units: how many the product has

  PYNEURAL_INLINE int unit(int s) const { return first_unit + s / each; }
  PYNEURAL_INLINE int column(int s) const {
    return first_column + s % each / kPiece * 32 * kPiece + s % kPiece;
  }
  PYNEURAL_INLINE bool is_inside(int s) const { return unit(s) < units; }

  // Those in a slab; 0 beyond the last unit.
  __device__ Four<T> load(const T* from) const {
    Four<T> four{};
    PYNEURAL_UNROLL
    for (int s = 0; s < 4; s += kPiece)
      if (is_inside(s)) {
        const auto piece = load_piece<kPiece>(from + unit(s) * int64_t{kStride} + column(s));
        PYNEURAL_UNROLL
        for (int q = 0; q < kPiece; ++q) four.values[s + q] = piece.values[q];
      }
    return four;
  }
  __device__ void store(Four<T> four, T* to) const {
    PYNEURAL_UNROLL
    for (int s = 0; s < 4; s += kPiece)
      if (is_inside(s)) {
        Piece<T, kPiece> piece;
        PYNEURAL_UNROLL
        for (int q = 0; q < kPiece; ++q) piece.values[q] = four.values[s + q];
        *reinterpret_cast<Piece<T, kPiece>*>(to + unit(s) * int64_t{kStride} + column(s)) = piece;
      }
  }
};

namespace detail {

// sum[q][j] += the weights of k0 to k0 + depth for unit m + q with column j of the thread.
template <bool transposed, int depth, class T, int each>
__device__ inline void multiply_some(const Chunk<T>& w, int m, int k0, const T* v,
                                     T (&sum)[4][each]) {
  using Columns = Place<T, each>;
  constexpr int kPiece = Columns::kPiece;
  T left[depth][4], right[depth][each];
  if constexpr (transposed) {
    PYNEURAL_UNROLL
    for (int k = 0; k < depth; ++k) PYNEURAL_UNROLL
    for (int q = 0; q < 4; q += kVector<T>) {
      const auto piece = load_piece<kVector<T>>(&w[k0 + k][m + q]);
      PYNEURAL_UNROLL
      for (int s = 0; s < kVector<T>; ++s) left[k][q + s] = piece.values[s];
    }
  } else {
    PYNEURAL_UNROLL
    for (int q = 0; q < 4; ++q) {
      const auto piece = load_piece<depth>(&w[m + q][k0]);
      PYNEURAL_UNROLL
      for (int k = 0; k < depth; ++k) left[k][q] = piece.values[k];
    }
  }
  PYNEURAL_UNROLL
  for (int k = 0; k < depth; ++k) PYNEURAL_UNROLL
  for (int j = 0; j < each; j += kPiece) {
    const auto piece =
        load_piece<kPiece>(v + int64_t{k0 + k} * Columns::kStride + j / kPiece * 32 * kPiece);
    PYNEURAL_UNROLL
    for (int s = 0; s < kPiece; ++s) right[k][j + s] = piece.values[s];
  }
  PYNEURAL_UNROLL
  for (int k = 0; k < depth; ++k) PYNEURAL_UNROLL
  for (int q = 0; q < 4; ++q) PYNEURAL_UNROLL
  for (int j = 0; j < each; ++j) sum[q][j] += left[k][q] * right[k][j];
}

template <bool transposed, int each, class T, class Use>
__device__ inline void layer_product(const Weights<T>& w, const T* v, WeightChunks<T>& chunks,
                                     const Weights<T>& next, const Use& use) {
  constexpr int kPiece = Place<T, each>::kPiece;
  const int units = transposed ? w.inputs : w.outputs, depth = transposed ? w.outputs : w.inputs;
  const int m = static_cast<int>(threadIdx.x) / 32 * 4;
  const int column = static_cast<int>(threadIdx.x) % 32 * kPiece;
  int unit = 0;
  do {
    T sum[4][each] = {};
    int k0 = 0;
    do {
      const Chunk<T>& chunk = chunks.publish();
      const bool goes_on = k0 + kChunk < depth;
      const int next_k = goes_on ? k0 + kChunk : 0, next_unit = goes_on ? unit : unit + kChunk;
      if (goes_on || next_unit < units)
        chunks.load(w, transposed ? next_k : next_unit, transposed ? next_unit : next_k);
      else
        chunks.load(next, 0, 0);
      if (unit + m < units) {
        const T* const from = v + int64_t{k0} * Place<T, each>::kStride + column;
        const int count = goes_on ? kChunk : depth - k0;
        int k = 0;
#pragma unroll kStepsAtOnce < T>
        for (; k + kVector<T> <= count; k += kVector<T>)
          multiply_some<transposed, kVector<T>>(chunk, m, k, from, sum);
#pragma unroll 1
        for (; k < count; ++k) multiply_some<transposed, 1>(chunk, m, k, from, sum);
      }
      k0 += kChunk;
    } while (k0 < depth);
    if (unit + m < units) {
      PYNEURAL_UNROLL
      for (int e = 0; e < 4 * each; e += 4) {
        Four<T> four;
        PYNEURAL_UNROLL
        for (int s = 0; s < 4; ++s) four.values[s] = sum[(e + s) / each][(e + s) % each];
        use(Place<T, each>{unit + m + e / each, column, units}, four);
      }
    }
    unit += kChunk;
  } while (unit < units);
}

template <int columns, class T>
__device__ inline void add_weight_gradient(const T* g, int outputs, const T* v, int inputs, T* to) {
  constexpr int kStride = columns + kVector<T>, kSlices = 4;
  const int lane = static_cast<int>(threadIdx.x) % 32, slice = lane / 8;
  for (int first_o = 0; first_o < outputs; first_o += kChunk)
    for (int first_i = 0; first_i < inputs; first_i += kChunk) {
      const int o0 = first_o + static_cast<int>(threadIdx.x) / 32 * 4, i0 = first_i + lane % 8;
      T sum[4][4] = {};
      if (o0 < outputs) {
        const T *left_at[4], *right_at[4];  // beyond the last, the last again
        PYNEURAL_UNROLL
        for (int q = 0; q < 4; ++q) {
          const int o = o0 + q, i = i0 + 8 * q;
          left_at[q] = g + int64_t{o < outputs ? o : outputs - 1} * kStride + slice * kVector<T>;
          right_at[q] = v + int64_t{i < inputs ? i : inputs - 1} * kStride + slice * kVector<T>;
        }
#pragma unroll kStepsAtOnce < T>
        for (int n = 0; n < columns; n += kSlices * kVector<T>) {
          Piece<T, kVector<T>> left[4], right[4];
          PYNEURAL_UNROLL
          for (int q = 0; q < 4; ++q) {
            left[q] = load_piece<kVector<T>>(left_at[q] + n);
            right[q] = load_piece<kVector<T>>(right_at[q] + n);
          }
          PYNEURAL_UNROLL
          for (int s = 0; s < kVector<T>; ++s) PYNEURAL_UNROLL
          for (int q = 0; q < 4; ++q) PYNEURAL_UNROLL
          for (int j = 0; j < 4; ++j) sum[q][j] += left[q].values[s] * right[j].values[s];
        }
      }
      PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q) PYNEURAL_UNROLL
      for (int j = 0; j < 4; ++j) {
        const T total = sum_of_lanes(sum[q][j], 8);
        const int o = o0 + q, i = i0 + 8 * j;
        if (q == slice && o < outputs && i < inputs) to[int64_t{o} * inputs + i] += total;
      }
    }
}

// visit(columns), an integral constant.
template <class Visit>
__device__ inline void visit_columns(int columns, const Visit& visit) {
  if (columns == kTallestTile)
    visit(std::integral_constant<int, kTallestTile>());
  else if (columns == kTallestTile / 2)
    visit(std::integral_constant<int, kTallestTile / 2>());
  else
    visit(std::integral_constant<int, kTallestTile / 4>());
}

}  // namespace detail

// use(place, sums) for all sums of the product of w, transposed or not, and v, in fours; `chunks`
// carry the first chunk of w and then that of `next`. All threads of the block call it. When one
// has passed its first chunk, all have written v. Ends without a barrier.
template <bool transposed, class T, class Use>
__device__ void layer_product(int columns, const Weights<T>& w, const T* v, WeightChunks<T>& chunks,
                              const Weights<T>& next, const Use& use) {
  detail::visit_columns(columns, [&](auto size) {
    detail::layer_product<transposed, decltype(size)::value / 32>(w, v, chunks, next, use);
  });
}

// to [O, I] += sum_n g[o, n] v[i, n], without a barrier: elements 32 x 32 at a time, of which each
// warp has 4 x 32. Its lanes share the columns: every fourth vector is one's own.
template <class T>
__device__ void add_weight_gradient(int columns, const T* g, int outputs, const T* v, int inputs,
                                    T* to) {
  detail::visit_columns(columns, [&](auto size) {
    detail::add_weight_gradient<decltype(size)::value>(g, outputs, v, inputs, to);
  });
}

// to[unit] += the sum over its first `count` columns: a warp takes a unit.
template <class T>
__device__ void add_unit_sums(const T* values, int64_t stride, int units, int count, T* to) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int first = 0; first < units; first += kThreads / 32) {
    const int unit = first + static_cast<int>(threadIdx.x) / 32;
    T sum = T(0);
    for (int n = lane; n < count && unit < units; n += 32) sum += values[unit * stride + n];
    sum = sum_of_lanes(sum, 1);
    if (lane == 0 && unit < units) to[unit] += sum;
  }
}

// body(a, b) for a < count and b < size, divided among the threads: neighbours have b side by side.
template <class Body>
__device__ void for_pairs(int count, int size, const Body& body) {
  if (size == 0) return;
  const int step_a = kThreads / size, step_b = kThreads % size;
  int a = static_cast<int>(threadIdx.x) / size, b = static_cast<int>(threadIdx.x) % size;
  while (a < count) {
    body(a, b);
    a += step_a;
    b += step_b;
    if (b >= size) {
      b -= size;
      ++a;
    }
  }
}

// body(row, unit) for a copy between rows of `units` elements and a slab: 8 neighbours of a row are
// 32 bytes, and those of 4 rows lie in 32 banks of the slab.
template <class Body>
__device__ void for_rows_and_units(int rows, int units, const Body& body) {
  constexpr int kUnits = 8;
  for (int row = static_cast<int>(threadIdx.x) / kUnits; row < rows; row += kThreads / kUnits)
    for (int unit = static_cast<int>(threadIdx.x) % kUnits; unit < units; unit += kUnits)
      body(row, unit);
}

}  // namespace pyneural
