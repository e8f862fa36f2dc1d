// The jet ops on CUDA: checks, memory and the stream; jet_cuda.cu does the work.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <memory>

#include "../common/dispatch_cuda.h"
#include "jet_ops.h"
#include "jet_params.h"

namespace pyneural::jet {
namespace {

// One call: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  // On the heap: a plan is several kilobytes.
  std::unique_ptr<JetParams<T>> params = std::make_unique<JetParams<T>>();
  at::Tensor x, scratch;
  std::vector<at::Tensor> parameters;

  Call(const char* op, const Network& network, const Arguments& a, Pass pass, bool sums_gradients)
      : x(a.x.contiguous()), parameters(set_network(op, network, a, x, params.get())) {
    C10_CUDA_CHECK(params->configure(pass, sums_gradients));
    scratch = set_scratch(x, params.get());
  }
};

struct Kernels {
  static void forward(const Network& network, const Arguments& a, const at::Tensor& output) {
    dispatch_floating_cuda(output, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      const Call<T> call("jet_mlp", network, a, Pass::forward, false);
      call.params->output = output.data_ptr<T>();
      C10_CUDA_CHECK(call.params->launch_forward(stream));
    });
  }

  static at::Tensor backward(const Network& network, const BackwardArguments& b,
                             const at::Tensor& grad_x) {
    const at::Tensor grad_parameters = empty_if(b.output_mask[1], {network.parameters}, grad_x);
    dispatch_floating_cuda(grad_x, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      const Call<T> call("jet_mlp_backward", network, b.forward, Pass::backward, b.output_mask[1]);
      const at::Tensor grads = b.grad_output.contiguous();
      const at::Tensor partial =
          at::empty({call.params->tile.blocks, grad_parameters.numel()}, grad_x.options());
      call.params->grad_output = grads.const_data_ptr<T>();
      call.params->grad_x = data_or_null<T>(grad_x);
      call.params->partial = data_or_null<T>(partial);
      call.params->grad_parameters = data_or_null<T>(grad_parameters);
      C10_CUDA_CHECK(call.params->launch_backward(stream));
    });
    return grad_parameters;
  }

  static void jacobian(const Network& network, const Arguments& a, const at::Tensor& jacobian) {
    dispatch_floating_cuda(jacobian, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      const Call<T> call("jet_mlp_jacobian", network, a, Pass::jacobian, false);
      call.params->output = jacobian.data_ptr<T>();
      C10_CUDA_CHECK(call.params->launch_jacobian(stream));
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::jet
