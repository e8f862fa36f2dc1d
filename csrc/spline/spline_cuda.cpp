// The rational-quadratic spline on CUDA: checks, memory and the stream; spline_cuda.cu does the
// work.
#include "spline_cuda.h"

#include <torch/library.h>

#include <array>

#include "../common/dispatch_cuda.h"
#include "spline_rows.h"

namespace pyneural::spline {
namespace {

// One call: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor points;
  std::array<at::Tensor, 3> parameters;
  SplineParams<T> params;

  Call(const char* op, const Arguments& a, int64_t bins, bool backward)
      : points(a.x.contiguous()),
        parameters{with_even_rows(a.widths), with_even_rows(a.heights),
                   with_even_rows(a.derivatives)} {
    params.spline = make_spline<T>(bins, a.bound, a.slope, a.inverse);
    params.points = a.x.numel();
    params.x = points.const_data_ptr<T>();
    for (size_t kind = 0; kind < parameters.size(); ++kind) {
      params.rows[kind].data = parameters[kind].template const_data_ptr<T>();
      params.rows[kind].distance = *distance_of_rows(parameters[kind]);
    }
    C10_CUDA_CHECK(params.configure(backward));
    TORCH_CHECK_VALUE(params.threads > 0, op,
                      ": widths: expected so few bins that the parameters of a point fit the "
                      "GPU's shared memory, got ",
                      bins, "; use fewer");
  }
};

Two rational_quadratic_spline(const Arguments& a) {
  const int64_t bins = check_rational_quadratic_spline(a);
  const Two result = empty_values(a);
  if (a.x.numel() == 0) return result;
  dispatch_floating_cuda(a.x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call("rational_quadratic_spline", a, bins, false);
    call.params.y = std::get<0>(result).data_ptr<T>();
    call.params.ladj = std::get<1>(result).data_ptr<T>();
    C10_CUDA_CHECK(call.params.launch_forward(stream));
  });
  return result;
}

Four rational_quadratic_spline_backward(const BackwardArguments& b) {
  const int64_t bins = check_rational_quadratic_spline_backward(b);
  const Four grads = empty_gradients(b);
  if (b.x.numel() == 0) return grads;
  dispatch_floating_cuda(b.x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call("rational_quadratic_spline_backward",
                 {b.x, b.widths, b.heights, b.derivatives, b.bound, b.slope, b.inverse}, bins,
                 true);
    const at::Tensor grad_y = b.grad_y.contiguous(), grad_ladj = b.grad_ladj.contiguous();
    call.params.grad_y = grad_y.const_data_ptr<T>();
    call.params.grad_ladj = grad_ladj.const_data_ptr<T>();
    call.params.grad_x = std::get<0>(grads).data_ptr<T>();
    call.params.rows[0].grad = std::get<1>(grads).data_ptr<T>();
    call.params.rows[1].grad = std::get<2>(grads).data_ptr<T>();
    call.params.rows[2].grad = std::get<3>(grads).data_ptr<T>();
    C10_CUDA_CHECK(call.params.launch_backward(stream));
  });
  return grads;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("rational_quadratic_spline",
         FlatOp<rational_quadratic_spline, ForwardSignature<Two>>::call);
  m.impl("rational_quadratic_spline_backward",
         FlatOp<rational_quadratic_spline_backward, BackwardSignature<Four>>::call);
}

}  // namespace pyneural::spline
