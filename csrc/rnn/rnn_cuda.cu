// The recurrence on CUDA: one cooperative launch for all steps.
//
// A block owns some hidden units of some rows, and keeps these units' recurrent weights in shared
// memory for the whole sequence where they fit. In a step it multiplies the state of its rows by
// its weights and makes the new state of its units; then the blocks of a team meet, as the next
// step wants the state of all units. Input products and weight gradients are plain products over
// all steps, before and after. No atomics but those of the barrier: the same bits on every run.
#include "../common/grid_barrier.cuh"
#include "../common/matmul.cuh"
#include "../common/scalar_math.h"
#include "rnn_cuda.h"

namespace pyneural::rnn {
namespace {

constexpr int64_t kTile = kTileN;                       // rows of a product: one product tile wide
constexpr int64_t kStride = kTile + 1;                  // of its result, off a single bank
constexpr int64_t kStaticBytes = 32 << 10;              // more than the stage of a product
constexpr int64_t kRowsOfTeam = 32, kUnitsOfBlock = 8;  // fewer are not worth another block

extern __shared__ __align__(16) unsigned char shared_memory[];

// What a block works on.
template <class T>
struct Part {
  int64_t first_row, last_row, first_unit, units;
  unsigned* barrier;

  __device__ explicit Part(const RnnParams<T>& p) {
    const int64_t team = blockIdx.x / p.members, member = blockIdx.x % p.members;
    first_row = team * p.rows / p.teams;
    last_row = (team + 1) * p.rows / p.teams;
    first_unit = member * p.hidden / p.members;
    units = (member + 1) * p.hidden / p.members - first_unit;
    barrier = p.barriers + team;
  }

  // body(row, unit of the part) for all of them, neighbouring threads at neighbouring units.
  template <class Body>
  __device__ void for_all(int64_t row, int64_t rows, const Body& body) const {
    for (int64_t i = threadIdx.x; i < rows * units; i += kThreads) body(row + i / units, i % units);
  }
};

PYNEURAL_INLINE int64_t units_of_block(int64_t hidden, int64_t members) {
  return (hidden + members - 1) / members;
}

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ RnnParams<T> p) {
  constexpr int G = Cell::kGates;
  __shared__ ProductStage<T> stage;
  const Part<T> part(p);
  const int64_t H = p.hidden, N = p.rows, columns = G * part.units;
  T* const z = reinterpret_cast<T*>(shared_memory);  // [G][units][kStride]
  T* const own = z + columns * kStride;              // [H][G][units]
  const auto weight = [&](int64_t k, int64_t m) {
    return p.weight_hh[(m / part.units * H + part.first_unit + m % part.units) * H + k];
  };
  if (p.shared_weights)
    for (int64_t i = threadIdx.x; i < H * columns; i += kThreads)
      own[i % H * columns + i / H] = weight(i % H, i / H);
  __syncthreads();
  for (int64_t s = 0; s < p.steps; ++s) {
    const int64_t t = p.time(s);
    const T* const h = p.h[s % 2];
    for (int64_t row = part.first_row; row < part.last_row; row += kTile) {
      const int64_t rows = part.last_row - row < kTile ? part.last_row - row : kTile;
      const auto state = [&](int64_t k, int64_t n) { return load_fresh(h + (row + n) * H + k); };
      const auto store = [&](int64_t m, int64_t n, T sum) { z[m * kStride + n] = sum; };
      if (p.shared_weights)
        block_product<Along::row, Along::k, T>(
            columns, rows, H, stage, [&](int64_t k, int64_t m) { return own[k * columns + m]; },
            state, store);
      else
        block_product<Along::k, Along::k, T>(columns, rows, H, stage, weight, state, store);
      part.for_all(row, rows, [&](int64_t n, int64_t i) {
        const int64_t u = part.first_unit + i, at = n * H + u, out = (t * N + n) * H + u;
        T* const saved = p.saved ? p.saved + (t * N + n) * Cell::kKept * H + u : nullptr;
        if (!p.active(t, n)) {
          p.h[(s + 1) % 2][at] = load_fresh(h + at);
          p.y[out] = T(0);
          for (int k = 0; saved && k < Cell::kKept; ++k) saved[k * H] = T(0);
          return;
        }
        T gates[Cell::kBlocks] = {}, kept[Cell::kKept + 1], c = T(0);
        for (int g = 0; g < G; ++g) {
          const T sum = z[(g * part.units + i) * kStride + n - row];
          gates[g] += p.bias_hh ? sum + p.bias_hh[g * H + u] : sum;
          gates[Cell::input_block(g)] += p.x_gates[((t * N + n) * G + g) * H + u];
        }
        if constexpr (Cell::kHasCellState) c = p.c[at];
        const T value = Cell::step(gates, load_fresh(h + at), c, kept);
        if constexpr (Cell::kHasCellState) p.c[at] = c;
        p.h[(s + 1) % 2][at] = value;
        p.y[out] = value;
        for (int k = 0; saved && k < Cell::kKept; ++k) saved[k * H] = kept[k];
      });
      __syncthreads();
    }
    grid_barrier(part.barrier, p.members, static_cast<unsigned>(s + 1));
  }
}

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ RnnParams<T> p) {
  constexpr int G = Cell::kGates, B = Cell::kBlocks, K = Cell::kKept;
  __shared__ ProductStage<T> stage;
  const Part<T> part(p);
  const int64_t H = p.hidden, N = p.rows;
  T* const own = reinterpret_cast<T*>(shared_memory);  // [G H][units]
  const auto weight = [&](int64_t k, int64_t m) {
    return p.weight_hh[k * H + part.first_unit + m];
  };
  if (p.shared_weights)
    for (int64_t i = threadIdx.x; i < G * H * part.units; i += kThreads)
      own[i] = weight(i / part.units, i % part.units);
  __syncthreads();
  for (int64_t s = p.steps - 1; s >= 0; --s) {
    const int64_t t = p.time(s), before = p.reverse ? t + 1 : t - 1;
    part.for_all(part.first_row, part.last_row - part.first_row, [&](int64_t n, int64_t i) {
      const int64_t u = part.first_unit + i, at = n * H + u;
      T* const to = p.grad_z + (t * N + n) * B * H + u;
      if (!p.active(t, n)) {
        for (int b = 0; b < B; ++b) to[b * H] = T(0);
        return;
      }
      const bool first = p.first(t, n);
      T kept[K + 1], grad[B], dc = T(0), dh = p.dh[at] + p.grad_y[t * N * H + at];
      for (int k = 0; k < K; ++k) kept[k] = p.saved[((t * N + n) * K + k) * H + u];
      At<T> here{p.y[t * N * H + at], first ? p.h0[at] : p.y[before * N * H + at], T(0)};
      if constexpr (Cell::kHasCellState) {
        here.c_before = first ? p.c0[at] : p.saved[((before * N + n) * K + K - 1) * H + u];
        dc = p.dc[at];
      }
      Cell::gradients(kept, here, dh, dc, grad);
      for (int b = 0; b < B; ++b) to[b * H] = grad[b];
      p.dh[at] = dh;
      if constexpr (Cell::kHasCellState) p.dc[at] = dc;
    });
    grid_barrier(part.barrier, p.members, static_cast<unsigned>(p.steps - s));
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

// Elements of a block's shared memory: its weights, if they are there, and in the forward the
// products of a tile.
template <class T>
int64_t shared_size(const RnnParams<T>& p, bool backward, int64_t units, bool with_weights) {
  int64_t gates = 0;
  visit_cell(p.cell, [&](auto cell) { gates = decltype(cell)::kGates; });
  return (with_weights ? gates * units * p.hidden : 0) + (backward ? 0 : gates * units * kStride);
}

template <class T>
cudaError_t launch(void (*kernel)(RnnParams<T>), const RnnParams<T>& params, bool backward,
                   cudaStream_t stream) {
  const int64_t units = units_of_block(params.hidden, params.members);
  const size_t shared = sizeof(T) * shared_size(params, backward, units, params.shared_weights);
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)))
    return error;
  RnnParams<T> copy = params;
  void* arguments[] = {&copy};
  const dim3 grid(params.teams * params.members), block(kThreads);
  return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), grid, block, arguments,
                                     shared, stream);
}

}  // namespace

template <class T>
cudaError_t rnn_configure(bool backward, RnnParams<T>* params) {
  int device = 0, multiprocessors = 0, shared = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device))
    return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device))
    return error;
  const int64_t H = params->hidden, most = multiprocessors < H ? multiprocessors : H;
  const auto fits = [&](int64_t members, bool with_weights) {
    return static_cast<int64_t>(sizeof(T)) *
               shared_size(*params, backward, units_of_block(H, members), with_weights) <=
           shared - kStaticBytes;
  };
  int64_t members = 1;
  while (members < most && !fits(members, true)) ++members;
  params->shared_weights = fits(members, true);
  if (!params->shared_weights) {
    members = 1;
    while (members < most && !fits(members, false)) ++members;
    if (!fits(members, false)) return cudaErrorInvalidValue;
  }
  const int64_t wanted = (params->rows + kRowsOfTeam - 1) / kRowsOfTeam;
  const int64_t teams = wanted < multiprocessors / members ? wanted : multiprocessors / members;
  const int64_t narrow = (H + kUnitsOfBlock - 1) / kUnitsOfBlock;
  const int64_t spare = narrow < multiprocessors / teams ? narrow : multiprocessors / teams;
  params->teams = static_cast<int32_t>(teams);
  params->members = static_cast<int32_t>(spare > members ? spare : members);
  return cudaSuccess;
}

template <class T>
cudaError_t launch_rnn(const RnnParams<T>& params, cudaStream_t stream) {
  cudaError_t error = cudaSuccess;
  visit_cell(params.cell, [&](auto cell) {
    error = launch<T>(forward_kernel<decltype(cell), T>, params, false, stream);
  });
  return error;
}

template <class T>
cudaError_t launch_rnn_backward(const RnnParams<T>& params, cudaStream_t stream) {
  cudaError_t error = cudaSuccess;
  visit_cell(params.cell, [&](auto cell) {
    error = launch<T>(backward_kernel<decltype(cell), T>, params, true, stream);
  });
  return error;
}

template cudaError_t rnn_configure(bool, RnnParams<float>*);
template cudaError_t rnn_configure(bool, RnnParams<double>*);
template cudaError_t launch_rnn(const RnnParams<float>&, cudaStream_t);
template cudaError_t launch_rnn(const RnnParams<double>&, cudaStream_t);
template cudaError_t launch_rnn_backward(const RnnParams<float>&, cudaStream_t);
template cudaError_t launch_rnn_backward(const RnnParams<double>&, cudaStream_t);

}  // namespace pyneural::rnn
