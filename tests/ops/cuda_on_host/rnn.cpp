// The launches of csrc/rnn/rnn_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/rnn/rnn_cuda.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::rnn;

namespace {

enum Failure { cuda = 1, overrun = 3 };

struct Machine {
  int multiprocessors, shared_bytes, has_clusters, order;
};

// The launch on such a machine; `used` receives groups, group_size, and whether weights are shared
// and groups are clusters.
template <class T>
int run(bool backward, const Machine& machine, RnnParams<T> params, int64_t* used) {
  cuda_on_host::multiprocessors = machine.multiprocessors;
  cuda_on_host::shared_bytes = machine.shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(machine.order);
  on_host::has_clusters = machine.has_clusters != 0;
  if (params.configure(backward)) return cuda;
  used[0] = params.groups;
  used[1] = params.group_size;
  used[2] = params.shared_weights;
  used[3] = params.in_clusters;
  Guarded<unsigned> barriers(params.groups);
  std::fill_n(barriers.data(), params.groups, 0u);
  params.barriers = barriers.data();
  if (params.launch(backward, nullptr)) return cuda;
  return barriers.overrun() ? overrun : 0;
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
            const T* weight_hh, const T* bias_hh, T* h, T* h_next, T* c, T* y, T* saved,
            int64_t* used) {
  RnnParams<T> params = make_params<T>(sizes, lengths);
  params.x_gates = x_gates;
  params.weight_hh = weight_hh;
  params.bias_hh = bias_hh;
  params.h[0] = h;
  params.h[1] = h_next;
  params.c = c;
  params.y = y;
  params.saved = saved;
  return run(false, machine, params, used);
}

template <class T>
int backward(Machine machine, const int64_t* sizes, const int64_t* lengths, const T* weight_hh,
             const T* h0, const T* c0, T* y, T* saved, const T* grad_y, T* dh, T* dc, T* grad_z,
             int64_t* used) {
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

extern "C" int forward_double(Machine machine, const int64_t* sizes, const int64_t* lengths,
                              const double* x_gates, const double* weight_hh, const double* bias_hh,
                              double* h, double* h_next, double* c, double* y, double* saved,
                              int64_t* used) {
  return forward(machine, sizes, lengths, x_gates, weight_hh, bias_hh, h, h_next, c, y, saved,
                 used);
}
extern "C" int backward_double(Machine machine, const int64_t* sizes, const int64_t* lengths,
                               const double* weight_hh, const double* h0, const double* c0,
                               double* y, double* saved, const double* grad_y, double* dh,
                               double* dc, double* grad_z, int64_t* used) {
  return backward(machine, sizes, lengths, weight_hh, h0, c0, y, saved, grad_y, dh, dc, grad_z,
                  used);
}
