// Recurrent layers on CUDA: checks, memory, the stream and the plain products before and after;
// rnn_cuda.cu goes through the steps.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "../common/dispatch_cuda.h"
#include "rnn_cuda.h"
#include "rnn_ops.h"

namespace pyneural::rnn {
namespace {

// The arguments as the kernels want them, and what they share.
struct Call : Inputs {
  Layer layer;
  at::Tensor x, lengths, active, weight_columns, exchange, barriers;

  Call(const Layer& checked, const Arguments& a) : Inputs(a), layer(checked), x(ready(a.x)) {
    if (!a.lengths) return;
    lengths = on_device(*a.lengths, x.device());
    const at::Tensor steps = at::arange(layer.steps, lengths.options());
    active = steps.unsqueeze(1).lt(lengths).unsqueeze(2);  // [T, N, 1]
    x = x.masked_fill(active.logical_not(), 0);            // elements beyond the end may be NaN
  }

  template <class T>
  RnnParams<T> params(bool backward) {
    RnnParams<T> params{
        layer.cell, {layer.steps, layer.reverse, read<int64_t>(lengths)}, layer.rows, layer.hidden};
    const cudaError_t error = params.configure(backward);
    TORCH_CHECK_VALUE(error != cudaErrorInvalidValue, "rnn: weight_hh: expected fewer hidden units",
                      " than this GPU's shared memory can serve, got ", layer.hidden,
                      "; use several narrower layers");
    C10_CUDA_CHECK(error);
    params.weight_hh = read<T>(weight_hh);
    params.row_stride = layer.hidden;
    params.column_stride = 1;
    if (!backward && !params.division.shared_weights) {
      // Read in every step, by neighbouring threads along the units.
      weight_columns = weight_hh.t().contiguous();
      params.weight_hh = read<T>(weight_columns);
      params.row_stride = 1;
      params.column_stride = weight_hh.size(0);
    }
    params.bias_hh = read<T>(bias_hh);
    params.h0 = read<T>(h0);
    params.c0 = read<T>(c0);
    exchange = at::empty({params.division.exchange_elements}, x.options());
    params.exchange = exchange.data_ptr<T>();
    barriers = at::zeros({params.division.barriers()}, x.options().dtype(at::kInt));
    params.barriers = reinterpret_cast<unsigned*>(barriers.data_ptr<int32_t>());
    return params;
  }
};

// The state that each step began with, [T, N, H].
at::Tensor states_before(const Call& call, const at::Tensor& y) {
  const at::Tensor h0 = call.h0.unsqueeze(0);
  const int64_t steps = call.layer.steps;
  if (!call.layer.reverse) return at::cat({h0, y.narrow(0, 0, steps - 1)});
  const at::Tensor after = at::cat({y.narrow(0, 1, steps - 1), h0});
  if (!call.lengths.defined()) return after;
  const at::Tensor times = at::arange(steps, call.lengths.options());
  return at::where(times.unsqueeze(1).eq(call.lengths - 1).unsqueeze(2), h0, after);
}

struct Kernels {
  static Four forward(const Layer& layer, const Arguments& a, bool with_saved) {
    const c10::cuda::CUDAGuard guard(a.x.device());
    Call call(layer, a);
    const auto options = call.x.options();
    const bool has_c = layer.has_cell_state(), saves = with_saved && layer.saved_size() > 0;
    at::Tensor y = at::empty({layer.steps, layer.rows, layer.hidden}, options),
               h = at::empty_like(call.h0), c = has_c ? call.c0.clone() : at::empty({0}, options);
    at::Tensor saved =
        saves ? at::empty({layer.steps, layer.rows, layer.saved_size(), layer.hidden}, options)
              : at::empty({0}, options);
    if (layer.rows > 0) {
      const at::Tensor x_gates =
          at::linear(call.x, call.weight_ih,
                     call.bias_ih.defined() ? OptionalTensor(call.bias_ih) : std::nullopt);
      dispatch_floating_cuda(call.x, [&](auto type, cudaStream_t stream) {
        using T = decltype(type);
        RnnParams<T> params = call.params<T>(false);
        params.x_gates = x_gates.const_data_ptr<T>();
        params.y = y.data_ptr<T>();
        params.h = h.data_ptr<T>();
        if (has_c) params.c = c.data_ptr<T>();
        if (saves) params.saved = saved.data_ptr<T>();
        C10_CUDA_CHECK(params.launch(false, stream));
      });
    }
    const auto dtype = a.x.scalar_type();
    return {y.to(dtype), h.to(dtype), c.to(dtype), saved};
  }

  static std::vector<at::Tensor> backward(const Layer& layer, const BackwardArguments& b,
                                          const std::array<bool, 7>& wanted) {
    const c10::cuda::CUDAGuard guard(b.x.device());
    Call call(layer, b.forward());
    const auto options = call.x.options();
    const int64_t H = layer.hidden, gates = layer.gates() * H, rows = layer.steps * layer.rows;
    const int64_t blocks = layer.cell == CellKind::gru ? 4 : layer.gates();
    const at::Tensor grad = call.ready(b.grad_y), y_rows = call.ready(b.y),
                     saved_rows = b.saved.contiguous();
    at::Tensor grad_z = at::empty({layer.steps, layer.rows, blocks * H}, options),
               dh = call.ready(b.grad_h_n).clone(),
               dc = b.grad_c_n ? call.ready(*b.grad_c_n).clone() : at::Tensor();
    if (layer.rows > 0)
      dispatch_floating_cuda(call.x, [&](auto type, cudaStream_t stream) {
        using T = decltype(type);
        RnnParams<T> params = call.params<T>(true);
        params.grad_y = grad.const_data_ptr<T>();
        params.y = y_rows.data_ptr<T>();
        if (layer.saved_size() > 0) params.saved = saved_rows.data_ptr<T>();
        params.grad_z = grad_z.data_ptr<T>();
        params.dh = dh.data_ptr<T>();
        if (dc.defined()) params.dc = dc.data_ptr<T>();
        C10_CUDA_CHECK(params.launch(true, stream));
      });
    const at::Tensor z = grad_z.view({rows, blocks * H}), of_hidden = z.narrow(1, 0, gates);
    const at::Tensor of_input =
        blocks == layer.gates() ? z : at::cat({z.narrow(1, 0, 2 * H), z.narrow(1, 3 * H, H)}, 1);
    const at::Tensor none = at::empty({0}, b.x.options());
    std::vector<at::Tensor> result(7, none);
    if (wanted[0]) result[0] = of_input.mm(call.weight_ih).view(b.x.sizes());
    if (wanted[1]) result[1] = dh;
    if (wanted[2] && dc.defined()) result[2] = dc;
    if (wanted[3]) result[3] = of_input.t().mm(call.x.view({rows, layer.in}));
    if (wanted[4])
      result[4] = of_hidden.t().mm(states_before(call, y_rows).view({rows, layer.hidden}));
    if (wanted[5]) result[5] = of_input.sum(0);
    if (wanted[6]) result[6] = of_hidden.sum(0);
    for (at::Tensor& one : result) one = one.to(b.x.scalar_type());
    return result;
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::rnn
