// The jet ops on CUDA: checks, memory and the stream; jet_cuda.cu does the work.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <memory>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "jet_check.h"
#include "jet_cuda.h"

namespace pyneural::jet {
namespace {

// One call: parameters flat in one tensor, the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor x, parameters, scratch;
  // On the heap: a plan is several kilobytes.
  std::unique_ptr<JetParams<T>> params = std::make_unique<JetParams<T>>();

  Call(const char* op, const Network& network, const at::Tensor& points, at::TensorList weights,
       at::TensorList biases, bool saves_layers, bool sums_gradients)
      : x(points.contiguous()) {
    const int64_t layers = network.layers();
    TORCH_CHECK_VALUE(layers <= kMaxLayers, op, ": weights: expected at most ", kMaxLayers,
                      " layers on CUDA, got ", layers, "; use the CPU for a deeper network");
    std::vector<at::Tensor> flat;
    params->layers = static_cast<int32_t>(layers);
    params->width[0] = static_cast<int32_t>(network.inputs());
    for (int64_t l = 0; l < layers; ++l) {
      flat.push_back(weights[l].reshape({-1}));
      flat.push_back(biases[l]);
      params->width[l + 1] = static_cast<int32_t>(network.width[l + 1]);
      params->offset[l + 1] = params->offset[l] + weights[l].numel() + biases[l].numel();
    }
    parameters = at::cat(flat);
    params->plan = network.plan;
    params->activation = network.activation;
    params->points = network.points;
    params->x = x.const_data_ptr<T>();
    params->parameters = parameters.template const_data_ptr<T>();
    C10_CUDA_CHECK(jet_configure(saves_layers, sums_gradients, params.get()));
    scratch = at::empty({params->blocks * params->slab}, x.options());
    params->scratch = scratch.template data_ptr<T>();
  }
};

at::Tensor jet_mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                   std::string_view activation, at::IntArrayRef derivatives,
                   at::ArrayRef<double> operator_coefficients) {
  const Network network =
      check_jet_mlp(x, weights, biases, activation, derivatives, operator_coefficients);
  at::Tensor output =
      at::empty({network.plan.outputs, network.points, network.outputs()}, x.options());
  if (network.points == 0) return output;
  dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const Call<T> call("jet_mlp", network, x, weights, biases, false, false);
    call.params->output = output.data_ptr<T>();
    C10_CUDA_CHECK(launch_jet_mlp(*call.params, stream));
  });
  return output;
}

std::tuple<at::Tensor, at::Tensor> jet_mlp_backward(
    const at::Tensor& grad_output, const at::Tensor& x, at::TensorList weights,
    at::TensorList biases, std::string_view activation, at::IntArrayRef derivatives,
    at::ArrayRef<double> operator_coefficients, std::array<bool, 2> output_mask) {
  const Network network = check_jet_mlp_backward(grad_output, x, weights, biases, activation,
                                                 derivatives, operator_coefficients, output_mask);
  const int64_t parameters = output_mask[1] ? network.parameters : 0;
  at::Tensor grad_x = empty_if(output_mask[0], x.sizes(), x);
  if (network.points == 0) return {grad_x, at::zeros({parameters}, x.options())};
  at::Tensor grad_parameters = at::empty({parameters}, x.options());
  dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const Call<T> call("jet_mlp_backward", network, x, weights, biases, true, output_mask[1]);
    const at::Tensor grads = grad_output.contiguous();
    const at::Tensor partial = at::empty({call.params->blocks, parameters}, x.options());
    call.params->grad_output = grads.const_data_ptr<T>();
    call.params->grad_x = data_or_null<T>(grad_x);
    call.params->partial = data_or_null<T>(partial);
    call.params->grad_parameters = data_or_null<T>(grad_parameters);
    C10_CUDA_CHECK(launch_jet_mlp_backward(*call.params, stream));
  });
  return {grad_x, grad_parameters};
}

at::Tensor jet_mlp_jacobian(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                            std::string_view activation, at::IntArrayRef derivatives,
                            at::ArrayRef<double> operator_coefficients) {
  const Network network =
      check_jet_mlp_jacobian(x, weights, biases, activation, derivatives, operator_coefficients);
  at::Tensor jacobian = at::empty(
      {network.points, network.plan.outputs * network.outputs(), network.parameters}, x.options());
  if (network.points == 0) return jacobian;
  dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const Call<T> call("jet_mlp_jacobian", network, x, weights, biases, true, false);
    call.params->output = jacobian.data_ptr<T>();
    C10_CUDA_CHECK(launch_jet_mlp_jacobian(*call.params, stream));
  });
  return jacobian;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("jet_mlp", jet_mlp);
  m.impl("jet_mlp_backward", jet_mlp_backward);
  m.impl("jet_mlp_jacobian", jet_mlp_jacobian);
}

}  // namespace pyneural::jet
