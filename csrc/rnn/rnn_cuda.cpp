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
  at::Tensor x, lengths, active, exchange, weights, barriers;

  Call(const Layer& checked, const Arguments& a)
      : Inputs(a, a.x.scalar_type()), layer(checked), x(ready(a.x)) {
    if (!a.lengths) return;
    lengths = on_device(*a.lengths, x.device());
    const at::Tensor steps = at::arange(layer.steps, lengths.options());
    active = steps.unsqueeze(1).lt(lengths).unsqueeze(2);  // [T, N, 1]
    x = x.masked_fill(active.logical_not(), 0);            // elements beyond the end may be NaN
  }

  template <class T>
  RnnParams<T> params(bool backward) {
    RnnParams<T> params{layer.cell,
                        {layer.steps, layer.reverse, elements<int64_t>(lengths)},
                        layer.rows,
                        layer.hidden};
    const cudaError_t error = params.configure(backward);
    TORCH_CHECK_VALUE(error != cudaErrorInvalidValue, "rnn: weight_hh: expected fewer hidden units",
                      " than this GPU's shared memory can serve, got ", layer.hidden,
                      "; use several narrower layers");
    C10_CUDA_CHECK(error);
    params.weight_hh = elements<T>(weight_hh);
    params.bias_hh = elements<T>(bias_hh);
    params.h0 = elements<T>(h0);
    params.c0 = elements<T>(c0);
    exchange = at::empty({params.division.exchange_elements}, x.options());
    params.exchange = mutable_elements<T>(exchange);
    weights = at::empty({params.division.weight_elements}, x.options());
    params.weights = mutable_elements<T>(weights);
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
    const auto in_sums = options.dtype(accumulator_dtype(a.x));
    at::Tensor saved =
        saves ? at::empty({layer.steps, layer.rows, layer.saved_size(), layer.hidden}, in_sums)
              : at::empty({0}, in_sums);
    if (layer.rows > 0) {
      const at::Tensor x_gates =
          at::linear(call.x, call.weight_ih,
                     call.bias_ih.defined() ? OptionalTensor(call.bias_ih) : std::nullopt);
      dispatch_with_reduced_cuda(call.x, [&](auto type, cudaStream_t stream) {
        using T = decltype(type);
        RnnParams<T> params = call.params<T>(false);
        params.x_gates = elements<T>(x_gates);
        params.y = mutable_elements<T>(y);
        params.h = mutable_elements<T>(h);
        if (has_c) params.c = mutable_elements<T>(c);
        if (saves) params.saved = mutable_elements<Accumulator<T>>(saved);
        C10_CUDA_CHECK(params.launch(false, stream));
      });
    }
    return {y, h, c, saved};
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
      dispatch_with_reduced_cuda(call.x, [&](auto type, cudaStream_t stream) {
        using T = decltype(type);
        RnnParams<T> params = call.params<T>(true);
        params.grad_y = elements<T>(grad);
        params.y = mutable_elements<T>(y_rows);
        if (layer.saved_size() > 0) params.saved = mutable_elements<Accumulator<T>>(saved_rows);
        params.grad_z = mutable_elements<T>(grad_z);
        params.dh = mutable_elements<T>(dh);
        params.dc = mutable_elements<T>(dc);
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
    return result;
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::rnn
