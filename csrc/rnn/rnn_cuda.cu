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
//
// In halves the products are by tensor cores and a thread computes two units together, all in
// float; what the group exchanges is rounded, as y and the gradients of the gates are.
#include "../common/launch.cuh"
#include "../common/scalar_math.h"
#include "rnn_block.cuh"

namespace pyneural::rnn {
namespace {

// Of a multiprocessor at least: what a division counts on.
constexpr int kBlocks = 1;

// A cell as kernels have it, which know its kind only when they run: tanh and relu are one kernel,
// in which each unit takes a branch that is the same for all.
template <class Cell>
struct CellOf : Cell {
  __device__ explicit CellOf(CellKind) {}
};
template <>
struct CellOf<Simple<Tanh>> : Simple<Tanh> {
  bool is_relu;

  __device__ explicit CellOf(CellKind kind) : is_relu(kind == CellKind::relu) {}
  template <class V>
  __device__ V step(const V* z, V h, V& c, V* saved) const {
    return is_relu ? Simple<Relu>::step(z, h, c, saved) : Simple<Tanh>::step(z, h, c, saved);
  }
  template <class V>
  __device__ void gradients(const V* saved, const At<V>& at, V& dh, V& dc, V* grad) const {
    if (is_relu)
      Simple<Relu>::gradients(saved, at, dh, dc, grad);
    else
      Simple<Tanh>::gradients(saved, at, dh, dc, grad);
  }
};

// What a step reads but for the state, and what it leaves, of the units of a place.
template <class Cell, class T>
struct Inputs {
  Units<T> gates[Cell::kGates];

  Inputs() = default;
  __device__ Inputs(const Block<T>& block, int64_t t, const typename Block<T>::Place& at) {
    const RnnParams<T>& p = block.params;
    const T* const from = p.x_gates + (t * p.rows + at.n) * Cell::kGates * p.hidden + at.u;
    for (int g = 0; g < Cell::kGates; ++g) gates[g] = block.load(from + g * p.hidden, at);
  }
};

template <class Cell, class T>
struct Outputs {
  T* y = nullptr;                   // null: there are none
  Accumulator<T>* saved = nullptr;  // null: not wanted
  int count;
  Units<T> value, to_save[Cell::kSaved + 1];

  __device__ void store(const RnnParams<T>& p) const {
    if (y) store_units<T>(value, y, count, p.in_words);
    if (saved)
      for (int k = 0; k < Cell::kSaved; ++k)
        store_units<T>(to_save[k], saved + k * p.hidden, count, p.in_words);
  }
};

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    forward_kernel(const __grid_constant__ RnnParams<T> p) {
  using S = Accumulator<T>;
  constexpr int G = Cell::kGates, kH = 0, kC = 1;
  const CellOf<Cell> cell(p.cell);
  const Block<T> block(p);
  using Place = typename Block<T>::Place;
  const int64_t H = p.hidden, N = p.rows;
  if (p.division.shared_weights) block.load_weights();
  block.clear_padding();
  block.begin();
  block.for_all([&](const Place& at) {
    const Units<T> h = block.load(p.h0 + at.n * H + at.u, at);
    block.own(kH, at) = h;
    if constexpr (Cell::kHasCellState) block.own(kC, at) = block.load(p.c + at.n * H + at.u, at);
    block.publish(0, 0, at, h);
  });
  Inputs<Cell, T> ahead;
  const auto look_ahead = [&](int64_t s) {
    block.for_first([&](const Place& at) { ahead = Inputs<Cell, T>(block, p.steps.time(s), at); });
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
        late.store(p);
        const int64_t out = (t * N + at.n) * H + at.u;
        late.y = p.y + out;
        late.count = at.count;
        if (p.saved) late.saved = p.saved + (t * N + at.n) * Cell::kSaved * H + at.u;
        Units<T> h = block.own(kH, at);
        if (p.steps.active(t, at.n)) {
          const Inputs<Cell, T> in = at.is_first() ? ahead : Inputs<Cell, T>(block, t, at);
          Units<T> sums[G], bias[G] = {}, c = {};
          for (int g = 0; g < G; ++g) {
            sums[g] = block.sum(at, g * p.division.units + at.i);
            if (p.bias_hh) bias[g] = block.load(p.bias_hh + g * H + at.u, at);
          }
          if constexpr (Cell::kHasCellState) c = block.own(kC, at);
          PYNEURAL_UNROLL
          for (int j = 0; j < kTogether<T>; ++j) {
            S gates[Cell::kBlocks] = {}, to_save[Cell::kSaved + 1];
            for (int g = 0; g < G; ++g) {
              gates[g] += sums[g].of[j] + bias[g].of[j];
              gates[Cell::input_block(g)] += in.gates[g].of[j];
            }
            h.of[j] = j < at.count ? cell.step(gates, h.of[j], c.of[j], to_save) : S(0);
            for (int k = 0; k < Cell::kSaved; ++k) late.to_save[k].of[j] = to_save[k];
          }
          late.value = h;
          if constexpr (Cell::kHasCellState) block.own(kC, at) = c;
          block.own(kH, at) = h;
        } else {
          late.value = {};
          for (int k = 0; k < Cell::kSaved; ++k) late.to_save[k] = {};
        }
        block.publish((s + 1) % 2, 0, at, h);
        if (last) block.store(h, p.h + at.n * H + at.u, at);
        if constexpr (Cell::kHasCellState)
          if (last) block.store(block.own(kC, at), p.c + at.n * H + at.u, at);
      });
      if (tile + 1 < p.division.tiles) __syncthreads();
    }
    block.arrive();
    late.store(p);
    if (!last) look_ahead(s + 1);
    block.wait(s + 2);
  }
}

// What the gradients of a step are made of, but for those of later steps, of the units of a place.
template <class Cell, class T>
struct Made {
  Units<T> saved[Cell::kSaved + 1], grad_y, h, h_before, c_before;

  Made() = default;
  __device__ Made(const Block<T>& block, int64_t t, const typename Block<T>::Place& at) {
    constexpr int K = Cell::kSaved;
    const RnnParams<T>& p = block.params;
    const int64_t H = p.hidden, N = p.rows, in_state = at.n * H + at.u, before = p.steps.before(t);
    const bool first = p.steps.first(t, at.n);
    grad_y = block.load(p.grad_y + t * N * H + in_state, at);
    for (int k = 0; k < K; ++k)
      saved[k] = block.load(p.saved + ((t * N + at.n) * K + k) * H + at.u, at);
    h = block.load(p.y + t * N * H + in_state, at);
    h_before = block.load(first ? p.h0 + in_state : p.y + before * N * H + in_state, at);
    if constexpr (Cell::kHasCellState)
      c_before = first ? block.load(p.c0 + in_state, at)
                       : block.load(p.saved + ((before * N + at.n) * K + K - 1) * H + at.u, at);
  }
};

template <class Cell, class T>
struct GateGradients {
  T* to = nullptr;  // null: there are none
  int count;
  Units<T> grad[Cell::kBlocks];

  __device__ void store(const RnnParams<T>& p) const {
    for (int b = 0; to && b < Cell::kBlocks; ++b)
      store_units<T>(grad[b], to + b * p.hidden, count, p.in_words);
  }
};

template <class Cell, class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    backward_kernel(const __grid_constant__ RnnParams<T> p) {
  using S = Accumulator<T>;
  constexpr int G = Cell::kGates, B = Cell::kBlocks, kH = 0, kC = 1;
  const CellOf<Cell> cell(p.cell);
  const Block<T> block(p);
  using Place = typename Block<T>::Place;
  const int64_t H = p.hidden, N = p.rows;
  if (p.division.shared_weights) block.load_weights();
  block.clear_padding();
  block.begin();
  block.for_all([&](const Place& at) {
    block.own(kH, at) = block.load(p.dh + at.n * H + at.u, at);
    if constexpr (Cell::kHasCellState) block.own(kC, at) = block.load(p.dc + at.n * H + at.u, at);
  });
  // Of a row that takes part in the step.
  const auto read = [&](int64_t t, const Place& at) {
    return p.steps.active(t, at.n) ? Made<Cell, T>(block, t, at) : Made<Cell, T>();
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
      late.store(p);
      late.to = p.grad_z + (t * N + at.n) * B * H + at.u;
      late.count = at.count;
      if (p.steps.active(t, at.n)) {
        const Made<Cell, T> made = at.is_first() ? ahead : read(t, at);
        Units<T> dh = block.own(kH, at), dc = {};
        if constexpr (Cell::kHasCellState) dc = block.own(kC, at);
        PYNEURAL_UNROLL
        for (int j = 0; j < kTogether<T>; ++j) {
          S saved[Cell::kSaved + 1], grad[B];
          for (int k = 0; k < Cell::kSaved; ++k) saved[k] = made.saved[k].of[j];
          At<S> here{made.h.of[j], made.h_before.of[j], S(0)};
          if constexpr (Cell::kHasCellState) here.c_before = made.c_before.of[j];
          dh.of[j] += made.grad_y.of[j];
          cell.gradients(saved, here, dh.of[j], dc.of[j], grad);
          for (int b = 0; b < B; ++b) late.grad[b].of[j] = j < at.count ? grad[b] : S(0);
        }
        if constexpr (Cell::kHasCellState) block.own(kC, at) = dc;
        block.own(kH, at) = dh;
      } else {
        for (int b = 0; b < B; ++b) late.grad[b] = {};
      }
      for (int g = 0; g < G; ++g) block.publish(s % 2, g, at, late.grad[g]);
    });
    block.arrive();
    late.store(p);
    if (s > 0) look_ahead(s - 1);
    block.wait(p.steps.count - s);
    for (int tile = 0; tile < p.division.tiles; ++tile) {
      block.multiply(s % 2, tile);
      __syncthreads();
      block.for_tile(tile, [&](const Place& at) {
        const Units<T> sum = block.sum(at, at.i);
        Units<T> dh = block.own(kH, at);
        PYNEURAL_UNROLL
        for (int j = 0; j < kTogether<T>; ++j) dh.of[j] += sum.of[j];
        block.own(kH, at) = dh;
      });
      if (tile + 1 < p.division.tiles) __syncthreads();
    }
  }
  block.for_all([&](const Place& at) {
    block.store(block.own(kH, at), p.dh + at.n * H + at.u, at);
    if constexpr (Cell::kHasCellState) block.store(block.own(kC, at), p.dc + at.n * H + at.u, at);
  });
}

// Each block writes the weights of a rank in the product's order.
template <class T>
__global__ void __launch_bounds__(kThreads) order_weights(const __grid_constant__ RnnParams<T> p) {
  Block<T>(p).load_weights();
}

template <class T>
using Kernel = void (*)(RnnParams<T>);

template <class T>
Kernel<T> kernel_of(CellKind kind, bool backward) {
  Kernel<T> kernel = nullptr;
  visit_cell(kind, [&](auto cell) {
    constexpr bool is_relu = std::is_same_v<decltype(cell), Simple<Relu>>;
    using Cell = std::conditional_t<is_relu, Simple<Tanh>, decltype(cell)>;
    kernel = backward ? backward_kernel<Cell, T> : forward_kernel<Cell, T>;
  });
  return kernel;
}

template <class... Pointers>
bool are_aligned(size_t bytes, const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % bytes == 0) && ...);
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
  const auto shared = static_cast<size_t>(division.shared_bytes);
  RnnParams<T> copy = *this;
  copy.in_words = hidden % kTogether<T> == 0 &&
                  are_aligned(sizeof(T) * kTogether<T>, x_gates, bias_hh, h0, c0, y, h, c, grad_y,
                              grad_z, dh, dc) &&
                  are_aligned(sizeof(Units<T>), saved);
  if (division.weight_elements > 0)
    if (const cudaError_t error =
            pyneural::launch(order_weights<T>, division.group_size, kThreads, 0, stream, copy))
      return error;
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

static_assert(kFitAsArguments<RnnParams<double>>);

template struct RnnParams<float>;
template struct RnnParams<double>;
template struct RnnParams<BFloat16>;
template struct RnnParams<Float16>;

}  // namespace pyneural::rnn
