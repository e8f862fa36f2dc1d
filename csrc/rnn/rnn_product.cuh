// The product of a block in one step of a recurrence, and what its group exchanges for it.
//
//   sums [slices][tile_rows][columns],  sum_k weight(k, column) value(k, row) of a slice of the k
//
// A thread keeps 4 columns of 4 or 8 rows in registers: for one k it reads 16 bytes of weights,
// beside those of its neighbours, and 4 or 8 values that are the same for them, and does 16 or 32
// multiply-adds. There are as many row tiles as the group has rows. Threads that are left over
// share the k among them, and whoever needs a sum adds its slices in order: the same bits on every
// run.
#pragma once

#include "../common/async_copy.cuh"
#include "../common/cluster.cuh"
#include "../common/grid_barrier.cuh"
#include "rnn_division.h"

namespace pyneural::rnn {

template <class T>
struct alignas(16) Four {
  T elements[4];
};

template <class T>
__device__ inline void load_four(const T* from, T (&to)[4]) {
  const Four<T> four = *reinterpret_cast<const Four<T>*>(from);
  PYNEURAL_UNROLL
  for (int i = 0; i < 4; ++i) to[i] = four.elements[i];
}

extern __shared__ __align__(16) unsigned char shared_memory[];

// A product of values k0 .. k0 + ks in shared memory, where everything is at offsets in elements:
// the values of the first k0 write the sums, later ones add to them.
template <class T>
struct Product {
  int k0, ks, columns, tile_rows, slices, value_stride, sum_stride;
  int values, sums;
};

// weights_from(column)(k, to) gives weight(k0 + k, column .. column + 3).
template <int kRows, class T, class Weights>
__device__ inline void multiply(const Product<T>& p, const Weights& weights_from) {
  T* const shared = reinterpret_cast<T*>(shared_memory);
  const int across = p.columns / kThreadColumns, tiles = across * (p.tile_rows / kRows);
  for (int item = static_cast<int>(threadIdx.x); item < tiles * p.slices; item += kThreads) {
    const int slice = item / tiles, column = item % across * kThreadColumns,
              row = item % tiles / across * kRows;
    const int end = (slice + 1) * p.ks / p.slices;
    const auto load_weights = weights_from(column);
    T total[kRows][4] = {};
#pragma unroll 4
    for (int k = slice * p.ks / p.slices; k < end; ++k) {
      T left[4];
      load_weights(k, left);
      PYNEURAL_UNROLL
      for (int r = 0; r < kRows; r += 4) {
        T right[4];
        load_four(shared + p.values + k * p.value_stride + row + r, right);
        PYNEURAL_UNROLL
        for (int i = 0; i < 4; ++i) PYNEURAL_UNROLL
        for (int j = 0; j < 4; ++j) total[r + i][j] += right[i] * left[j];
      }
    }
    PYNEURAL_UNROLL
    for (int r = 0; r < kRows; ++r) {
      T* const to = shared + p.sums + (slice * p.tile_rows + row + r) * p.sum_stride + column;
      Four<T> four;
      PYNEURAL_UNROLL
      for (int j = 0; j < 4; ++j) four.elements[j] = p.k0 > 0 ? to[j] + total[r][j] : total[r][j];
      *reinterpret_cast<Four<T>*>(to) = four;
    }
  }
}

// Calls, which all cells share, rather than a copy in each kernel: the compiler has an eighth to
// do. Weights [depth][columns] at the start of the shared memory:
template <int kRows, class T>
[[gnu::noinline]] __device__ void multiply_shared(Product<T> p) {
  const T* const weights = reinterpret_cast<const T*>(shared_memory) + p.k0 * p.columns;
  multiply<kRows>(p, [&](int column) {
    return [&p, from = weights + column](int k, T(&to)[4]) { load_four(from + k * p.columns, to); };
  });
}

// Columns of weights in global memory: [gates] of `hidden` columns, of which the block has some.
template <class T>
struct GlobalWeights {
  const T* first;  // weight(0, 0)
  int64_t k_step, column_step, gate_step;
  int gates, units, wide_units;  // of the block, and columns of a gate in the product

  // weight(0, column); null beyond the last column.
  __device__ const T* column(int column) const {
    const int gate = column / wide_units, i = column % wide_units;
    return i < units && gate < gates ? first + gate * gate_step + i * column_step : nullptr;
  }
};
template <int kRows, class T>
[[gnu::noinline]] __device__ void multiply_global(Product<T> p, GlobalWeights<T> weights) {
  struct Columns {
    const T* from[4];
  };
  multiply<kRows>(p, [&](int column) {
    Columns columns;
    for (int j = 0; j < 4; ++j) columns.from[j] = weights.column(column + j);
    return [&p, &weights, columns](int k, T(&to)[4]) {
      PYNEURAL_UNROLL
      for (int j = 0; j < 4; ++j)
        to[j] = columns.from[j] ? columns.from[j][(p.k0 + k) * weights.k_step] : T(0);
    };
  });
}

// Of one thread block: its rows and units, and its shared memory.
template <class T>
struct Block {
  const RnnParams<T>& params;
  const Division& division;
  int64_t first_row, first_unit;
  int rows, units;
  GlobalWeights<T> source;    // of the product's weights, in weight_hh
  T *weights, *sums, *owned;  // [depth][columns], [slices][tile_rows][.], [2][tiles][owned_size()]
  T* values;                  // [2][tiles][depth][.]; or [2][kChunk][.], where they pass through

  __device__ explicit Block(const RnnParams<T>& p) : params(p), division(p.division) {
    const Division& d = division;
    const int64_t group = p.first_group + blockIdx.x / d.group_size;
    const int64_t rank = blockIdx.x % d.group_size;
    first_row = group * p.rows / d.groups;
    rows = static_cast<int>((group + 1) * p.rows / d.groups - first_row);
    first_unit = rank * p.hidden / d.group_size;
    units = static_cast<int>((rank + 1) * p.hidden / d.group_size - first_unit);
    // In the forward the product's columns are rows of weight_hh.
    const int64_t k_step = d.is_forward ? p.column_stride : p.row_stride;
    const int64_t column_step = d.is_forward ? p.row_stride : p.column_stride;
    source = {p.weight_hh + first_unit * column_step,
              k_step,
              column_step,
              p.hidden * column_step,
              d.gates,
              units,
              d.units};
    weights = reinterpret_cast<T*>(shared_memory);
    sums = weights + (d.shared_weights ? int64_t{d.depth} * d.columns : 0);
    owned = sums + d.slices * d.tile_rows * d.sum_stride;
    values = owned + 2 * d.tiles * owned_size();
  }

  // Elements of a tile, and their thread: 4 rows of a unit beside each other, then the units, so
  // that a warp's 8 units of 4 rows lie in whole sectors of global memory.
  __device__ int owned_size() const { return division.tile_rows * division.units; }
  // body(its row and unit in the layer, its place in a tile's products and in `owned`).
  struct Place {
    int64_t n, u;
    int tile, e, row, i;

    // Of those of the thread.
    __device__ bool is_first() const { return tile == 0 && e < kThreads; }
  };
  template <class Body>
  __device__ void for_tile(int tile, const Body& body) const {
    for (int e = static_cast<int>(threadIdx.x); e < owned_size(); e += kThreads)
      visit(tile, e, body);
  }
  template <class Body>
  __device__ void for_first(const Body& body) const {
    const int e = static_cast<int>(threadIdx.x);
    if (e < owned_size()) visit(0, e, body);
  }
  template <class Body>
  __device__ void for_all(const Body& body) const {
    for (int tile = 0; tile < division.tiles; ++tile) for_tile(tile, body);
  }

  // A value of the block's own from step to step, seen by one thread; there are two of each.
  __device__ T& own(int which, const Place& at) const {
    return owned[(which * division.tiles + at.tile) * owned_size() + at.e];
  }
  __device__ T sum(const Place& at, int column) const {
    const T* from = sums + at.row * division.sum_stride + column;
    T total = T(0);
    for (int s = 0; s < division.slices; ++s, from += division.tile_rows * division.sum_stride)
      total += *from;
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

  // Gives all blocks of the group value(k, row), to read after the barrier. There are two sets of
  // values, used by turns.
  __device__ void publish(int set, int k, const Place& at, T value) const {
    const int64_t to = tile_offset(set, at.tile) + int64_t{k} * division.value_stride + at.row;
    if (division.in_clusters)
      for (int rank = 0; rank < division.group_size; ++rank)
        *in_block(values + to, static_cast<unsigned>(rank)) = value;
    else
      (division.shared_exchange ? values : params.exchange)[to] = value;
  }

  // All threads of the block call it; leaves a tile's sums to be read after a barrier.
  __device__ void multiply(int set, int tile) const {
    const Division& d = division;
    if (d.shared_exchange) {
      multiply(values + tile_offset(set, tile), 0, d.depth);
      return;
    }
    const T* const from = params.exchange + tile_offset(set, tile);
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

 private:
  template <class Body>
  __device__ void visit(int tile, int e, const Body& body) const {
    const int row = e % 4 + e / (4 * division.units) * 4, i = e / 4 % division.units;
    const int n = tile * division.tile_rows + row;
    if (n < rows && i < units) body(Place{first_row + n, first_unit + i, tile, e, row, i});
  }
  __device__ int64_t tile_offset(int set, int tile) const {
    const int64_t group = division.shared_exchange ? 0 : blockIdx.x / division.group_size;
    const int64_t groups = division.shared_exchange ? 1 : division.groups_at_once;
    return ((set * groups + group) * division.tiles + tile) * division.depth *
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
    const Product<T> p{k0,           ks,           d.columns,
                       d.tile_rows,  d.slices,     d.value_stride,
                       d.sum_stride, offset(part), offset(sums)};
    if (d.shared_weights && d.thread_rows == 8)
      multiply_shared<8>(p);
    else if (d.shared_weights)
      multiply_shared<4>(p);
    else if (d.thread_rows == 8)
      multiply_global<8>(p, source);
    else
      multiply_global<4>(p, source);
  }
  __device__ static int offset(const T* of) {
    return static_cast<int>(of - reinterpret_cast<const T*>(shared_memory));
  }

 public:
  // Fills the block's weights, neighbouring threads along weight_hh.
  __device__ void load_weights() const {
    const int size = division.depth * division.columns;
    const bool along_k = source.k_step == 1;
    for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) {
      const int k = along_k ? i % division.depth : i / division.columns;
      const int column = along_k ? i / division.depth : i % division.columns;
      const T* const from = source.column(column);
      weights[k * division.columns + column] = from ? from[k * source.k_step] : T(0);
    }
  }
};

}  // namespace pyneural::rnn
