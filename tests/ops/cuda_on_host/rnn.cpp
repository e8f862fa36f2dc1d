// The launches of csrc/rnn/rnn_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/rnn/rnn_cuda.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::rnn;

namespace {

enum Failure { cuda = 1, overrun = 3 };

struct Machine {
  int multiprocessors, shared_bytes, group_of_multiprocessors, order;
};

// The division of the launch as a test sees it.
void describe(const Division& d, int64_t* used) {
  const int64_t all[] = {d.groups, d.group_size, d.shared_weights, d.in_clusters,
                         d.depth,  d.columns,    d.tile_rows,      d.tiles,
                         d.slices, d.item_rows,  d.shared_bytes,   d.groups_at_once};
  std::copy(std::begin(all), std::end(all), used);
}

void set_machine(const Machine& machine) {
  cuda_on_host::multiprocessors = machine.multiprocessors;
  cuda_on_host::shared_bytes = machine.shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(machine.order);
  on_host::group_of_multiprocessors = machine.group_of_multiprocessors;
}

// The launch on such a machine.
template <class T>
int run(bool backward, const Machine& machine, RnnParams<T> params, int64_t* used) {
  set_machine(machine);
  if (params.configure(backward)) return cuda;
  describe(params.division, used);
  Guarded<unsigned> barriers(params.division.barriers());
  std::fill_n(barriers.data(), params.division.barriers(), 0u);
  params.barriers = barriers.data();
  Guarded<T> exchange(params.division.exchange_elements), weights(params.division.weight_elements);
  params.exchange = exchange.data();
  params.weights = weights.data();
  if (params.launch(backward, nullptr)) return cuda;
  return barriers.overrun() || exchange.overrun() || weights.overrun() ? overrun : 0;
}

template <class T>
RnnParams<T> make_params(const int64_t* sizes, const int64_t* lengths) {
  RnnParams<T> params;
  params.cell = static_cast<CellKind>(sizes[0]);
  params.steps = {sizes[2], sizes[1] != 0, lengths};
  params.rows = sizes[3];
  params.hidden = sizes[4];
  return params;
}

template <class T>
int forward(Machine machine, const int64_t* sizes, const int64_t* lengths, const T* x_gates,
            const T* weight_hh, const T* bias_hh, const T* h0, T* h, T* c, T* y,
            Accumulator<T>* saved, int64_t* used) {
  RnnParams<T> params = make_params<T>(sizes, lengths);
  params.x_gates = x_gates;
  params.weight_hh = weight_hh;
  params.bias_hh = bias_hh;
  params.h0 = h0;
  params.h = h;
  params.c = c;
  params.y = y;
  params.saved = saved;
  return run(false, machine, params, used);
}

template <class T>
int backward(Machine machine, const int64_t* sizes, const int64_t* lengths, const T* weight_hh,
             const T* h0, const T* c0, T* y, Accumulator<T>* saved, const T* grad_y, T* dh, T* dc,
             T* grad_z, int64_t* used) {
  RnnParams<T> params = make_params<T>(sizes, lengths);
  params.weight_hh = weight_hh;
  params.h0 = h0;
  params.c0 = c0;
  params.y = y;
  params.saved = saved;
  params.grad_y = grad_y;
  params.dh = dh;
  params.dc = dc;
  params.grad_z = grad_z;
  return run(true, machine, params, used);
}

}  // namespace

#define EXPORT(NAME, T)                                                                           \
  extern "C" int forward_##NAME(Machine machine, const int64_t* sizes, const int64_t* lengths,    \
                                const T* x_gates, const T* weight_hh, const T* bias_hh,           \
                                const T* h0, T* h, T* c, T* y, Accumulator<T>* saved,             \
                                int64_t* used) {                                                  \
    return forward(machine, sizes, lengths, x_gates, weight_hh, bias_hh, h0, h, c, y, saved,      \
                   used);                                                                         \
  }                                                                                               \
  extern "C" int backward_##NAME(Machine machine, const int64_t* sizes, const int64_t* lengths,   \
                                 const T* weight_hh, const T* h0, const T* c0, T* y,              \
                                 Accumulator<T>* saved, const T* grad_y, T* dh, T* dc, T* grad_z, \
                                 int64_t* used) {                                                 \
    return backward(machine, sizes, lengths, weight_hh, h0, c0, y, saved, grad_y, dh, dc, grad_z, \
                    used);                                                                        \
  }
EXPORT(float32, float)
EXPORT(float64, double)
EXPORT(bfloat16, BFloat16)
EXPORT(float16, Float16)

// The division of a layer on such a machine.
extern "C" int divide(Machine machine, const int64_t* sizes, int backward, int bytes,
                      int64_t* used) {
  const CellKind cell = static_cast<CellKind>(sizes[0]);
  int gates = 0;
  visit_cell(cell, [&](auto kind) { gates = decltype(kind)::kGates; });
  Division division;
  set_machine(machine);
  const bool found = divide(
      {!backward, gates, sizes[3], sizes[4], bytes},
      {machine.multiprocessors, machine.shared_bytes},
      [](int64_t size) { return clusters_at_once(nullptr, size, kThreads, 0); }, &division);
  describe(division, used);
  return found ? 0 : cuda;
}
