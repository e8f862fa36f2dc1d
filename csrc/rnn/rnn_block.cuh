// One thread block of a recurrence: its rows and units, its shared memory, and what its group
// exchanges.
#pragma once

#include "../common/async_copy.cuh"
#include "../common/cluster.cuh"
#include "../common/elements.cuh"
#include "../common/grid_barrier.cuh"
#include "rnn_product.cuh"

namespace pyneural::rnn {

// The units that a thread computes together: a word of halves.
template <class T>
constexpr int kTogether = sizeof(T) == 2 ? 2 : 1;
template <class T>
using Units = Together<Accumulator<T>, kTogether<T>>;

__device__ inline Together<BFloat16, 2> pack(float low, float high, BFloat16) {
  return __builtin_bit_cast(Together<BFloat16, 2>, tensor_core::pack_bfloat16(low, high));
}
__device__ inline Together<Float16, 2> pack(float low, float high, Float16) {
  return __builtin_bit_cast(Together<Float16, 2>, tensor_core::pack_float16(low, high));
}

// The elements of `count` units beside each other, of which the others are 0. `in_words`: they are
// all, and lie at a multiple of their size.
template <class T, class E>
__device__ inline Units<T> load_units(const E* from, int count, bool in_words) {
  Units<T> units = {};
  if constexpr (kTogether<T> == 1) {
    units.of[0] = *from;
  } else if (in_words) {
    const auto both = *reinterpret_cast<const Together<E, 2>*>(from);
    units = {{load(&both.of[0]), load(&both.of[1])}};
  } else {
    units.of[0] = load(from);
    if (count == 2) units.of[1] = load(from + 1);
  }
  return units;
}
template <class T>
__device__ inline Together<T, kTogether<T>> rounded(const Units<T>& units) {
  if constexpr (kTogether<T> == 1)
    return {{units.of[0]}};
  else
    return pack(units.of[0], units.of[1], T());
}
template <class T, class E>
__device__ inline void store_units(const Units<T>& units, E* to, int count, bool in_words) {
  Together<E, kTogether<T>> elements;
  if constexpr (std::is_same_v<E, Accumulator<T>>)
    elements = units;
  else
    elements = rounded<T>(units);
  if (kTogether<T> == 1 || in_words) {
    *reinterpret_cast<Together<E, kTogether<T>>*>(to) = elements;
  } else {
    for (int j = 0; j < count; ++j) to[j] = elements.of[j];
  }
}

template <class T>
struct Block {
  using Sum = Accumulator<T>;
  using Layout = ProductOf<T>;

  const RnnParams<T>& params;
  const Division& division;
  int64_t first_row, first_unit;
  int rows, units;
  T* weights;       // [depth][columns], as the product has them
  Sum* sums;        // [slices][tile_rows][.]
  Units<T>* owned;  // [2][tiles][places()]
  T* values;        // [2][tiles][depth][.]; or [2][kChunk][.], where they pass through

  __device__ explicit Block(const RnnParams<T>& p) : params(p), division(p.division) {
    const Division& d = division;
    const int64_t group = p.first_group + blockIdx.x / d.group_size;
    const int64_t rank = blockIdx.x % d.group_size;
    first_row = group * p.rows / d.groups;
    rows = static_cast<int>((group + 1) * p.rows / d.groups - first_row);
    const int64_t of_layer = d.gate_depth / kTogether<T>;
    first_unit = rank * of_layer / d.group_size * kTogether<T>;
    const int64_t end = (rank + 1) * of_layer / d.group_size * kTogether<T>;
    units = static_cast<int>((end < p.hidden ? end : p.hidden) - first_unit);
    const int64_t size = int64_t{d.depth} * d.columns;
    weights = d.shared_weights ? reinterpret_cast<T*>(shared_memory) : p.weights + rank * size;
    sums = reinterpret_cast<Sum*>(shared_memory + (d.shared_weights ? size * sizeof(T) : 0));
    owned = reinterpret_cast<Units<T>*>(sums + d.slices * d.tile_rows * d.sum_stride);
    values = reinterpret_cast<T*>(owned + 2 * d.tiles * places());
  }

  // Units of a tile that are computed together, and their thread: 4 rows of them beside each other,
  // then the next, so that a warp's 8 units of 4 rows, of halves 16, lie in whole sectors of global
  // memory.
  __device__ int places() const { return division.tile_rows * across(); }
  __device__ int across() const { return division.units / kTogether<T>; }
  // body(the row and the first unit in the layer, how many, their place in a tile's products and in
  // `owned`).
  struct Place {
    int64_t n, u;
    int count, tile, e, row, i;

    // Of those of the thread.
    __device__ bool is_first() const { return tile == 0 && e < kThreads; }
  };
  template <class Body>
  __device__ void for_tile(int tile, const Body& body) const {
    for (int e = static_cast<int>(threadIdx.x); e < places(); e += kThreads) visit(tile, e, body);
  }
  template <class Body>
  __device__ void for_first(const Body& body) const {
    const int e = static_cast<int>(threadIdx.x);
    if (e < places()) visit(0, e, body);
  }
  template <class Body>
  __device__ void for_all(const Body& body) const {
    for (int tile = 0; tile < division.tiles; ++tile) for_tile(tile, body);
  }

  template <class E>
  __device__ Units<T> load(const E* from, const Place& at) const {
    return load_units<T>(from, at.count, params.in_words);
  }
  template <class E>
  __device__ void store(const Units<T>& units, E* to, const Place& at) const {
    store_units<T>(units, to, at.count, params.in_words);
  }

  // Values of the block's own from step to step, seen by one thread; there are two of each.
  __device__ Units<T>& own(int which, const Place& at) const {
    return owned[(which * division.tiles + at.tile) * places() + at.e];
  }
  __device__ Units<T> sum(const Place& at, int column) const {
    const Sum* from = sums + at.row * division.sum_stride + column;
    Units<T> total = {};
    for (int s = 0; s < division.slices; ++s, from += division.tile_rows * division.sum_stride) {
      const Units<T> slice = *reinterpret_cast<const Units<T>*>(from);
      PYNEURAL_UNROLL
      for (int j = 0; j < kTogether<T>; ++j) total.of[j] += slice.of[j];
    }
    return total;
  }

  // The group's barrier in two halves: what a thread wrote before it arrives, all see after they
  // have waited. `round` counts from 1.
  __device__ unsigned* counter() const {
    return params.barriers + params.first_group + blockIdx.x / division.group_size;
  }
  __device__ void begin() const {  // no block writes to one that has not
    if (!division.in_clusters) return;
    cluster_arrive();
    cluster_wait();
  }
  __device__ void arrive() const {
    if (division.group_size == 1)
      __syncthreads();
    else if (division.in_clusters)
      cluster_arrive();
    else
      grid_arrive(counter());
  }
  __device__ void wait(int64_t round) const {
    if (division.group_size == 1) return;
    if (division.in_clusters)
      cluster_wait();
    else
      grid_wait(counter(), division.group_size, static_cast<unsigned>(round));
  }

  // Gives all blocks of the group value(k, row) and those of the units beside it, to read after the
  // barrier. There are two sets of values, used by turns.
  __device__ void publish(int set, int gate, const Place& at, const Units<T>& value) const {
    const int k = gate * division.gate_depth + static_cast<int>(at.u);
    T* const to = set_of(set, at.tile) + Layout::value_place(k, at.row, division);
    using Word = Together<T, kTogether<T>>;
    const Word word = rounded<T>(value);
    if (division.in_clusters)
      for (int rank = 0; rank < division.group_size; ++rank)
        *in_block(reinterpret_cast<Word*>(to), static_cast<unsigned>(rank)) = word;
    else
      *reinterpret_cast<Word*>(to) = word;
  }
  // Values beyond the last unit's stay 0.
  __device__ void clear_padding() const {
    const Division& d = division;
    const int first = (d.is_forward ? 1 : d.gates) * d.gate_depth, size = d.depth - first;
    for (int i = static_cast<int>(threadIdx.x); i < size * d.tile_rows; i += kThreads)
      for (int tile = 0; tile < d.tiles; ++tile)
        for (int set = 0; set < 2; ++set)
          set_of(set, tile)[Layout::value_place(first + i % size, i / size, d)] = T();
  }

  // All threads of the block call it; leaves a tile's sums to be read after a barrier.
  __device__ void multiply(int set, int tile) const {
    const Division& d = division;
    const T* const from = set_of(set, tile);
    if (d.shared_exchange) {
      multiply(from, 0, d.depth);
      return;
    }
    fetch(from, 0);
    for (int k0 = 0; k0 < d.depth; k0 += kChunk) {
      const bool more = k0 + kChunk < d.depth;
      if (more) {
        fetch(from, k0 + kChunk);
        wait_copies<1>();
      } else {
        wait_copies<0>();
      }
      __syncthreads();
      multiply(chunk(k0), k0, more ? kChunk : d.depth - k0);
      __syncthreads();
    }
  }

  // Fills the block's weights, neighbouring threads along a line of weight_hh: one of the product's
  // columns in the forward, one of its k in the backward.
  __device__ void load_weights() const {
    const Division& d = division;
    const int64_t H = params.hidden;
    const int lines = d.is_forward ? d.columns : d.depth, size = d.is_forward ? d.depth : d.columns;
    const int of_gate = d.is_forward ? d.units : d.gate_depth;
    const int64_t wide = d.is_forward ? units : H, high = d.is_forward ? H : units;
    const int64_t first = d.is_forward ? first_unit * H : first_unit;
    for (int line = static_cast<int>(threadIdx.x) / 32; line < lines; line += kWarps) {
      const int64_t gate = line / of_gate, i = line % of_gate;
      const T* const from = params.weight_hh + (gate * H + i) * H + first;
      const bool is_there = gate < d.gates && i < wide;
#pragma unroll 4
      for (int j = lane_of_warp(); j < size; j += 32) {
        const int k = d.is_forward ? j : line, column = d.is_forward ? line : j;
        weights[Layout::weight_place(k, column, d.columns)] = is_there && j < high ? from[j] : T();
      }
    }
  }

 private:
  template <class Body>
  __device__ void visit(int tile, int e, const Body& body) const {
    const int row = e % 4 + e / (4 * across()) * 4, i = e / 4 % across() * kTogether<T>;
    const int n = tile * division.tile_rows + row, left = units - i;
    const int count = left < kTogether<T> ? left : kTogether<T>;
    if (n < rows && count > 0) body(Place{first_row + n, first_unit + i, count, tile, e, row, i});
  }
  // A tile's values of a set.
  __device__ T* set_of(int set, int tile) const {
    const int64_t group = division.shared_exchange ? 0 : blockIdx.x / division.group_size;
    const int64_t groups = division.shared_exchange ? 1 : division.groups_at_once;
    return (division.shared_exchange ? values : params.exchange) +
           ((set * groups + group) * division.tiles + tile) * division.depth *
               division.value_stride;
  }
  __device__ T* chunk(int k0) const {
    return values + k0 / kChunk % 2 * kChunk * division.value_stride;
  }
  // Begins to copy a chunk of a tile's values. Copies bypass the first-level cache, which may hold
  // what other blocks have written over since.
  __device__ void fetch(const T* from, int k0) const {
    const int ks = division.depth - k0 < kChunk ? division.depth - k0 : kChunk;
    constexpr int kVector = kCopyBytes / static_cast<int>(sizeof(T));
    from += int64_t{k0} * division.value_stride;
    T* const to = chunk(k0);
    for (int i = static_cast<int>(threadIdx.x) * kVector; i < ks * division.value_stride;
         i += kThreads * kVector)
      copy_async(to + i, from + i, kCopyBytes);
    commit_copies();
  }

  __device__ void multiply(const T* part, int k0, int ks) const {
    const Division& d = division;
    const Product p{k0,           ks,           d.columns,   d.tile_rows, d.slices, d.value_stride,
                    d.sum_stride, offset(part), offset(sums)};
    if (d.shared_weights)
      Layout::template multiply<true>(d.item_rows, p, nullptr);
    else
      Layout::template multiply<false>(d.item_rows, p, weights);
  }
  __device__ static int offset(const void* of) {
    return static_cast<int>(static_cast<const unsigned char*>(of) - shared_memory);
  }
};

}  // namespace pyneural::rnn
