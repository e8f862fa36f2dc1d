// The recurrence on CUDA: one launch for all steps.
//
// A block owns some hidden units of some rows and holds these units' recurrent weights in shared
// memory for the whole sequence where they fit. In a step it multiplies the state of its rows by
// its weights and computes the new state of its units; then the blocks of a group pass a barrier,
// as the next step reads the state of all units. Input products and weight gradients are plain
// products over all steps, before and after. No atomics except the barrier's: the same bits on
// every run.
//
// Where the weights of a group fit the shared memory of a cluster, the group is one: its barrier is
// the cluster's, and in the forward each block writes its units' new state into the shared memory
// of all. In the backward they exchange the gates' gradients, which go to global memory anyway.
// Otherwise the launch is cooperative and the state passes through global memory.
#include "../common/cluster.cuh"
#include "../common/grid_barrier.cuh"
#include "../common/launch.cuh"
#include "../common/matmul.cuh"
#include "../common/scalar_math.h"
#include "rnn_cuda.h"

namespace pyneural::rnn {
namespace {

constexpr int64_t kTile = kTileN;                        // rows of a product: one product tile wide
constexpr int64_t kStride = kTile + 1;                   // of its result, off a single bank
constexpr int64_t kStaticBytes = 32 << 10;               // more than the stage of a product
constexpr int64_t kRowsOfGroup = 32, kUnitsOfBlock = 8;  // fewer do not pay for another block

extern __shared__ __align__(16) unsigned char shared_memory[];

// The rows and units of a block.
template <class T>
struct BlockPart {
  int64_t first_row, last_row, first_unit, units;
  unsigned* barrier;

  __device__ explicit BlockPart(const RnnParams<T>& p) {
    const int64_t group = blockIdx.x / p.group_size, rank = blockIdx.x % p.group_size;
    first_row = group * p.rows / p.groups;
    last_row = (group + 1) * p.rows / p.groups;
    first_unit = rank * p.hidden / p.group_size;
    units = (rank + 1) * p.hidden / p.group_size - first_unit;
    barrier = p.barriers + group;
  }

  // body(row, unit of the part) for all of them, neighbouring threads at neighbouring units.
  template <class Body>
  __device__ void for_all(int64_t row, int64_t rows, const Body& body) const {
    for (int64_t i = threadIdx.x; i < rows * units; i += kThreads) body(row + i / units, i % units);
  }
};

// Barrier of the blocks of a group; `round` counts the calls from 1.
template <class T>
__device__ void group_barrier(const RnnParams<T>& p, const BlockPart<T>& part, int64_t round) {
  if (p.in_clusters)
    cluster_barrier();
  else
    grid_barrier(part.barrier, p.group_size, static_cast<unsigned>(round));
}

template <class T>
PYNEURAL_INLINE int64_t rows_of_group(const RnnParams<T>& p) {
  return (p.rows + p.groups - 1) / p.groups;
}

PYNEURAL_INLINE int64_t units_of_block(int64_t hidden, int64_t group_size) {
  return (hidden + group_size - 1) / group_size;
}

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ RnnParams<T> p) {
  constexpr int G = Cell::kGates;
  __shared__ ProductStage<T> stage;
  const BlockPart<T> part(p);
  const int64_t H = p.hidden, N = p.rows, columns = G * part.units;
  T* const z = reinterpret_cast<T*>(shared_memory);  // [G][units][kStride]
  T* const own = z + columns * kStride;              // [H][G][units]
  const int64_t R = rows_of_group(p);
  // [2][R][H] in a cluster, by turns; at the same place in each of its blocks.
  T* const states = z + G * units_of_block(H, p.group_size) * (kStride + H);
  const auto weight = [&](int64_t k, int64_t m) {
    return p.weight_hh[(m / part.units * H + part.first_unit + m % part.units) * H + k];
  };
  if (p.shared_weights)
    for (int64_t i = threadIdx.x; i < H * columns; i += kThreads)
      own[i % H * columns + i / H] = weight(i % H, i / H);
  if (p.in_clusters) {
    for (int64_t i = threadIdx.x; i < (part.last_row - part.first_row) * H; i += kThreads)
      states[i] = p.h[0][part.first_row * H + i];
    cluster_barrier();  // all have begun
  }
  __syncthreads();
  for (int64_t s = 0; s < p.steps.count; ++s) {
    const int64_t t = p.steps.time(s);
    // Of row n and unit k, before this step and after it.
    const auto before = [&](int64_t n, int64_t k) {
      return p.in_clusters ? states[(s % 2 * R + n - part.first_row) * H + k]
                           : load_fresh(p.h[s % 2] + n * H + k);
    };
    const auto set_state = [&](int64_t n, int64_t k, T value) {
      p.h[(s + 1) % 2][n * H + k] = value;
      T* const own_state = states + ((s + 1) % 2 * R + n - part.first_row) * H + k;
      for (int64_t rank = 0; p.in_clusters && rank < p.group_size; ++rank)
        *in_block(own_state, static_cast<unsigned>(rank)) = value;
    };
    for (int64_t row = part.first_row; row < part.last_row; row += kTile) {
      const int64_t rows = part.last_row - row < kTile ? part.last_row - row : kTile;
      const auto state = [&](int64_t k, int64_t n) { return before(row + n, k); };
      const auto store = [&](int64_t m, int64_t n, T sum) { z[m * kStride + n] = sum; };
      if (p.shared_weights)
        block_product<Along::row, Along::k, T>(
            columns, rows, H, stage, [&](int64_t k, int64_t m) { return own[k * columns + m]; },
            state, store);
      else
        block_product<Along::k, Along::k, T>(columns, rows, H, stage, weight, state, store);
      part.for_all(row, rows, [&](int64_t n, int64_t i) {
        const int64_t u = part.first_unit + i, at = n * H + u, out = (t * N + n) * H + u;
        T* const to_saved = p.saved ? p.saved + (t * N + n) * Cell::kSaved * H + u : nullptr;
        if (!p.steps.active(t, n)) {
          set_state(n, u, before(n, u));
          p.y[out] = T(0);
          for (int k = 0; to_saved && k < Cell::kSaved; ++k) to_saved[k * H] = T(0);
          return;
        }
        T gates[Cell::kBlocks] = {}, saved[Cell::kSaved + 1], c = T(0);
        for (int g = 0; g < G; ++g) {
          const T sum = z[(g * part.units + i) * kStride + n - row];
          gates[g] += p.bias_hh ? sum + p.bias_hh[g * H + u] : sum;
          gates[Cell::input_block(g)] += p.x_gates[((t * N + n) * G + g) * H + u];
        }
        if constexpr (Cell::kHasCellState) c = p.c[at];
        const T value = Cell::step(gates, before(n, u), c, saved);
        if constexpr (Cell::kHasCellState) p.c[at] = c;
        set_state(n, u, value);
        p.y[out] = value;
        for (int k = 0; to_saved && k < Cell::kSaved; ++k) to_saved[k * H] = saved[k];
      });
      __syncthreads();
    }
    group_barrier(p, part, s + 1);
  }
}

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ RnnParams<T> p) {
  constexpr int G = Cell::kGates, B = Cell::kBlocks, K = Cell::kSaved;
  __shared__ ProductStage<T> stage;
  const BlockPart<T> part(p);
  const int64_t H = p.hidden, N = p.rows;
  T* const own = reinterpret_cast<T*>(shared_memory);  // [G H][units]
  const auto weight = [&](int64_t k, int64_t m) {
    return p.weight_hh[k * H + part.first_unit + m];
  };
  if (p.shared_weights)
    for (int64_t i = threadIdx.x; i < G * H * part.units; i += kThreads)
      own[i] = weight(i / part.units, i % part.units);
  __syncthreads();
  for (int64_t s = p.steps.count - 1; s >= 0; --s) {
    const int64_t t = p.steps.time(s), before = p.steps.before(t);
    part.for_all(part.first_row, part.last_row - part.first_row, [&](int64_t n, int64_t i) {
      const int64_t u = part.first_unit + i, at = n * H + u;
      T* const to = p.grad_z + (t * N + n) * B * H + u;
      if (!p.steps.active(t, n)) {
        for (int b = 0; b < B; ++b) to[b * H] = T(0);
        return;
      }
      const bool first = p.steps.first(t, n);
      T saved[K + 1], grad[B], dc = T(0), dh = p.dh[at] + p.grad_y[t * N * H + at];
      for (int k = 0; k < K; ++k) saved[k] = p.saved[((t * N + n) * K + k) * H + u];
      At<T> here{p.y[t * N * H + at], first ? p.h0[at] : p.y[before * N * H + at], T(0)};
      if constexpr (Cell::kHasCellState) {
        here.c_before = first ? p.c0[at] : p.saved[((before * N + n) * K + K - 1) * H + u];
        dc = p.dc[at];
      }
      Cell::gradients(saved, here, dh, dc, grad);
      for (int b = 0; b < B; ++b) to[b * H] = grad[b];
      p.dh[at] = dh;
      if constexpr (Cell::kHasCellState) p.dc[at] = dc;
    });
    group_barrier(p, part, p.steps.count - s);
    for (int64_t row = part.first_row; row < part.last_row; row += kTile) {
      const int64_t rows = part.last_row - row < kTile ? part.last_row - row : kTile;
      const T* const grad = p.grad_z + (t * N + row) * B * H;
      const auto gates = [&](int64_t k, int64_t n) { return load_fresh(grad + n * B * H + k); };
      const auto store = [&](int64_t m, int64_t n, T sum) {
        p.dh[(row + n) * H + part.first_unit + m] += sum;
      };
      if (p.shared_weights)
        block_product<Along::row, Along::k, T>(
            part.units, rows, G * H, stage,
            [&](int64_t k, int64_t m) { return own[k * part.units + m]; }, gates, store);
      else
        block_product<Along::row, Along::k, T>(part.units, rows, G * H, stage, weight, gates,
                                               store);
    }
  }
}

// Elements of a block's shared memory: its weights, if they are there; in the forward the products
// of a tile, and in a cluster the states.
template <class T>
int64_t shared_size(const RnnParams<T>& p, bool backward) {
  int64_t gates = 0;
  visit_cell(p.cell, [&](auto cell) { gates = decltype(cell)::kGates; });
  const int64_t units = units_of_block(p.hidden, p.group_size);
  return (p.shared_weights ? gates * units * p.hidden : 0) +
         (backward ? 0 : gates * units * kStride) +
         (p.in_clusters && !backward ? 2 * rows_of_group(p) * p.hidden : 0);
}

template <class T>
using Kernel = void (*)(RnnParams<T>);

template <class T>
Kernel<T> kernel_of(CellKind kind, bool backward) {
  Kernel<T> kernel = nullptr;
  visit_cell(kind, [&](auto cell) {
    kernel = backward ? backward_kernel<decltype(cell), T> : forward_kernel<decltype(cell), T>;
  });
  return kernel;
}

}  // namespace

template <class T>
cudaError_t RnnParams<T>::configure(bool backward) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  RnnParams<T>& p = *this;
  const auto fits = [&] {
    return static_cast<int64_t>(sizeof(T)) * shared_size(p, backward) <=
           device.shared_bytes - kStaticBytes;
  };
  const auto up = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t most = device.multiprocessors < p.hidden ? device.multiprocessors : p.hidden;
  const int64_t narrow = up(p.hidden, kUnitsOfBlock);

  bool has = false;
  const auto kernel = kernel_of<T>(p.cell, backward);
  if (const cudaError_t error = has_clusters(reinterpret_cast<const void*>(kernel), &has))
    return error;
  if (has) {
    p.in_clusters = p.shared_weights = true;
    p.group_size = static_cast<int32_t>(narrow < kMaxClusterSize ? narrow : kMaxClusterSize);
    const int64_t spare =
        device.multiprocessors / p.group_size > 1 ? device.multiprocessors / p.group_size : 1;
    p.groups = static_cast<int32_t>(p.rows < spare ? p.rows : spare);
    if (fits()) return cudaSuccess;
    p.in_clusters = false;
  }

  const auto widen = [&] {
    for (p.group_size = 1; p.group_size < most && !fits();) ++p.group_size;
    return fits();
  };
  p.shared_weights = true;
  if (!widen()) {
    p.shared_weights = false;
    if (!widen()) return cudaErrorInvalidValue;
  }
  const int64_t wanted = up(p.rows, kRowsOfGroup), group_size = p.group_size;
  const int64_t groups =
      wanted < device.multiprocessors / group_size ? wanted : device.multiprocessors / group_size;
  const int64_t spare =
      narrow < device.multiprocessors / groups ? narrow : device.multiprocessors / groups;
  p.groups = static_cast<int32_t>(groups);
  p.group_size = static_cast<int32_t>(spare > group_size ? spare : group_size);
  return cudaSuccess;
}

template <class T>
cudaError_t RnnParams<T>::launch(bool backward, cudaStream_t stream) const {
  const Kernel<T> kernel = kernel_of<T>(cell, backward);
  const auto shared = static_cast<size_t>(shared_size(*this, backward)) * sizeof(T);
  if (const cudaError_t error = allow_shared_bytes(kernel, shared)) return error;
  RnnParams<T> copy = *this;
  void* arguments[] = {&copy};
  const int64_t blocks = int64_t{groups} * group_size;
  if (in_clusters)
    return launch_in_clusters(reinterpret_cast<const void*>(kernel), blocks, group_size, kThreads,
                              shared, arguments, stream);
  return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel),
                                     dim3(static_cast<unsigned>(blocks)), dim3(kThreads), arguments,
                                     shared, stream);
}

template struct RnnParams<float>;
template struct RnnParams<double>;

}  // namespace pyneural::rnn
