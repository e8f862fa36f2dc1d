// The jet ops on CUDA: checks, memory and the stream; jet_cuda.cu does the work.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <memory>

#include "../common/dispatch_cuda.h"
#include "../common/layer_tensors.h"
#include "jet_cuda.h"
#include "jet_ops.h"

namespace pyneural::jet {
namespace {

// One call: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor x, scratch;
  std::vector<at::Tensor> parameters;
  // On the heap: a plan is several kilobytes.
  std::unique_ptr<JetParams<T>> params = std::make_unique<JetParams<T>>();

  Call(const char* op, const Network& network, const Arguments& a, Pass pass, bool sums_gradients)
      : x(a.x.contiguous()) {
    const int64_t layers = network.layers();
    TORCH_CHECK_VALUE(layers <= kMaxLayers, op, ": weights: expected at most ", kMaxLayers,
                      " layers on CUDA, got ", layers, "; use the CPU for a deeper network");
    parameters = point_to_layers(a.weights, a.biases, &params->layers);
    params->plan = network.plan;
    params->activation = network.activation;
    params->points = network.points;
    params->has_jet_x = network.has_jet_x;
    params->x = x.const_data_ptr<T>();
    C10_CUDA_CHECK(params->configure(pass, sums_gradients));
    if (params->tile.shared_slab) return;
    scratch = at::empty({params->tile.blocks * params->tile.slab}, x.options());
    params->scratch = scratch.template data_ptr<T>();
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
