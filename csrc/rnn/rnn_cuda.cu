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
// the cluster's, and each block writes its units' new state, or the gradients of their gates, into
// the shared memory of all. Otherwise the launch is cooperative and these pass through global
// memory. rnn_division.h decides.
//
// Between arriving at a barrier and waiting for it, a thread stores what the group does not need
// and loads its first inputs of the next step.
#include "../common/launch.cuh"
#include "../common/scalar_math.h"
#include "rnn_division.h"
#include "rnn_product.cuh"

namespace pyneural::rnn {
namespace {

// What a step of a unit reads but for the state, and what it leaves.
template <class Cell, class T>
struct Inputs {
  T gates[Cell::kGates];

  Inputs() = default;
  __device__ Inputs(const RnnParams<T>& p, int64_t t, int64_t n, int64_t u) {
    const T* const from = p.x_gates + (t * p.rows + n) * Cell::kGates * p.hidden + u;
    for (int g = 0; g < Cell::kGates; ++g) gates[g] = from[g * p.hidden];
  }
};

template <class Cell, class T>
struct Outputs {
  T* y = nullptr;      // null: there are none
  T* saved = nullptr;  // null: not wanted
  T value, to_save[Cell::kSaved + 1];

  __device__ void store(int64_t hidden) const {
    if (y) *y = value;
    if (saved)
      for (int k = 0; k < Cell::kSaved; ++k) saved[k * hidden] = to_save[k];
  }
};

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ RnnParams<T> p) {
  constexpr int G = Cell::kGates, kH = 0, kC = 1;
  const Block<T> block(p);
  using Place = typename Block<T>::Place;
  const int64_t H = p.hidden, N = p.rows;
  if (p.division.shared_weights) block.load_weights();
  block.begin();
  block.for_all([&](const Place& at) {
    const T h = p.h0[at.n * H + at.u];
    block.own(kH, at) = h;
    if constexpr (Cell::kHasCellState) block.own(kC, at) = p.c[at.n * H + at.u];
    block.publish(0, at.u, at, h);
  });
  Inputs<Cell, T> ahead;
  const auto look_ahead = [&](int64_t s) {
    block.for_first(
        [&](const Place& at) { ahead = Inputs<Cell, T>(p, p.steps.time(s), at.n, at.u); });
  };
  block.arrive();
  look_ahead(0);
  block.wait(1);
  for (int64_t s = 0; s < p.steps.count; ++s) {
    const int64_t t = p.steps.time(s);
    const bool last = s + 1 == p.steps.count;
    Outputs<Cell, T> late;
    for (int tile = 0; tile < p.division.tiles; ++tile) {
      block.multiply(s % 2, tile);
      __syncthreads();
      block.for_tile(tile, [&](const Place& at) {
        late.store(H);
        const int64_t out = (t * N + at.n) * H + at.u;
        late.y = p.y + out;
        if (p.saved) late.saved = p.saved + (t * N + at.n) * Cell::kSaved * H + at.u;
        const T before = block.own(kH, at);
        T h = before;
        if (p.steps.active(t, at.n)) {
          const Inputs<Cell, T> in = at.is_first() ? ahead : Inputs<Cell, T>(p, t, at.n, at.u);
          T gates[Cell::kBlocks] = {}, c = T(0);
          for (int g = 0; g < G; ++g) {
            const T sum = block.sum(at, g * p.division.units + at.i);
            gates[g] += p.bias_hh ? sum + p.bias_hh[g * H + at.u] : sum;
            gates[Cell::input_block(g)] += in.gates[g];
          }
          if constexpr (Cell::kHasCellState) c = block.own(kC, at);
          late.value = h = Cell::step(gates, before, c, late.to_save);
          if constexpr (Cell::kHasCellState) block.own(kC, at) = c;
          block.own(kH, at) = h;
        } else {
          late.value = T(0);
          for (int k = 0; k < Cell::kSaved; ++k) late.to_save[k] = T(0);
        }
        block.publish((s + 1) % 2, at.u, at, h);
        if (last) p.h[at.n * H + at.u] = h;
        if constexpr (Cell::kHasCellState)
          if (last) p.c[at.n * H + at.u] = block.own(kC, at);
      });
      if (tile + 1 < p.division.tiles) __syncthreads();
    }
    block.arrive();
    late.store(H);
    if (!last) look_ahead(s + 1);
    block.wait(s + 2);
  }
}

// What the gradients of a step of a unit are made of, but for those of later steps.
template <class Cell, class T>
struct Made {
  T saved[Cell::kSaved + 1], grad_y;
  At<T> here;

  Made() = default;
  __device__ Made(const RnnParams<T>& p, int64_t t, int64_t n, int64_t u) {
    constexpr int K = Cell::kSaved;
    const int64_t H = p.hidden, N = p.rows, at = n * H + u, before = p.steps.before(t);
    const bool first = p.steps.first(t, n);
    grad_y = p.grad_y[t * N * H + at];
    for (int k = 0; k < K; ++k) saved[k] = p.saved[((t * N + n) * K + k) * H + u];
    here = {p.y[t * N * H + at], first ? p.h0[at] : p.y[before * N * H + at], T(0)};
    if constexpr (Cell::kHasCellState)
      here.c_before = first ? p.c0[at] : p.saved[((before * N + n) * K + K - 1) * H + u];
  }
};

template <class Cell, class T>
struct GateGradients {
  T* to = nullptr;  // null: there are none
  T grad[Cell::kBlocks];

  __device__ void store(int64_t hidden) const {
    for (int b = 0; to && b < Cell::kBlocks; ++b) to[b * hidden] = grad[b];
  }
};

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ RnnParams<T> p) {
  constexpr int G = Cell::kGates, B = Cell::kBlocks, kH = 0, kC = 1;
  const Block<T> block(p);
  using Place = typename Block<T>::Place;
  const int64_t H = p.hidden, N = p.rows;
  if (p.division.shared_weights) block.load_weights();
  block.begin();
  block.for_all([&](const Place& at) {
    block.own(kH, at) = p.dh[at.n * H + at.u];
    if constexpr (Cell::kHasCellState) block.own(kC, at) = p.dc[at.n * H + at.u];
  });
  // Of a row that takes part in the step.
  const auto read = [&](int64_t t, const Place& at) {
    return p.steps.active(t, at.n) ? Made<Cell, T>(p, t, at.n, at.u) : Made<Cell, T>();
  };
  Made<Cell, T> ahead;
  const auto look_ahead = [&](int64_t s) {
    block.for_first([&](const Place& at) { ahead = read(p.steps.time(s), at); });
  };
  look_ahead(p.steps.count - 1);
  for (int64_t s = p.steps.count - 1; s >= 0; --s) {
    const int64_t t = p.steps.time(s);
    GateGradients<Cell, T> late;
    block.for_all([&](const Place& at) {
      late.store(H);
      late.to = p.grad_z + (t * N + at.n) * B * H + at.u;
      if (p.steps.active(t, at.n)) {
        const Made<Cell, T> made = at.is_first() ? ahead : read(t, at);
        T dh = block.own(kH, at) + made.grad_y, dc = T(0);
        if constexpr (Cell::kHasCellState) dc = block.own(kC, at);
        Cell::gradients(made.saved, made.here, dh, dc, late.grad);
        if constexpr (Cell::kHasCellState) block.own(kC, at) = dc;
        block.own(kH, at) = dh;
      } else {
        for (int b = 0; b < B; ++b) late.grad[b] = T(0);
      }
      for (int g = 0; g < G; ++g) block.publish(s % 2, g * H + at.u, at, late.grad[g]);
    });
    block.arrive();
    late.store(H);
    if (s > 0) look_ahead(s - 1);
    block.wait(p.steps.count - s);
    for (int tile = 0; tile < p.division.tiles; ++tile) {
      block.multiply(s % 2, tile);
      __syncthreads();
      block.for_tile(tile, [&](const Place& at) { block.own(kH, at) += block.sum(at, at.i); });
      if (tile + 1 < p.division.tiles) __syncthreads();
    }
  }
  block.for_all([&](const Place& at) {
    p.dh[at.n * H + at.u] = block.own(kH, at);
    if constexpr (Cell::kHasCellState) p.dc[at.n * H + at.u] = block.own(kC, at);
  });
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
  const Kernel<T> kernel = kernel_of<T>(cell, backward);
  const auto most = static_cast<size_t>(device.shared_bytes);  // by which a block is alone
  if (const cudaError_t error = allow_shared_bytes(kernel, most)) return error;
  const auto clusters = [&](int64_t size) {
    return clusters_at_once(reinterpret_cast<const void*>(kernel), size, kThreads, most);
  };
  int gates = 0;
  visit_cell(cell, [&](auto kind) { gates = decltype(kind)::kGates; });
  const Recurrence recurrence{!backward, gates, rows, hidden, static_cast<int>(sizeof(T))};
  return divide(recurrence, device, clusters, &division) ? cudaSuccess : cudaErrorInvalidValue;
}

template <class T>
cudaError_t RnnParams<T>::launch(bool backward, cudaStream_t stream) const {
  const Kernel<T> kernel = kernel_of<T>(cell, backward);
  const auto shared = static_cast<size_t>(division.shared_elements) * sizeof(T);
  RnnParams<T> copy = *this;
  void* arguments[] = {&copy};
  for (int32_t& first = copy.first_group; first < division.groups;
       first += division.groups_at_once) {
    const int32_t left = division.groups - first;
    const int64_t blocks =
        int64_t{left < division.groups_at_once ? left : division.groups_at_once} *
        division.group_size;
    const cudaError_t error =
        division.in_clusters
            ? launch_in_clusters(reinterpret_cast<const void*>(kernel), blocks, division.group_size,
                                 kThreads, shared, arguments, stream)
            : cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel),
                                          dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
                                          arguments, shared, stream);
    if (error) return error;
  }
  return cudaSuccess;
}

template struct RnnParams<float>;
template struct RnnParams<double>;

}  // namespace pyneural::rnn
