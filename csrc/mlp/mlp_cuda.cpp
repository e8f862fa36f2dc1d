// The mlp ops on CUDA: checks, memory and the stream; mlp_cuda.cu does the work.
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "mlp_cuda.h"
#include "mlp_layers.h"

namespace pyneural::mlp {
namespace {

// One call: parameters flat in one tensor, the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor x, parameters, scratch;
  MlpParams<T> params;

  Call(const char* op, const Network& network, const at::Tensor& rows, at::TensorList weights,
       at::TensorList biases, bool backward)
      : x(rows.contiguous()) {
    const int64_t layers = network.layers();
    static_assert(kMostFusedLayers <= kMaxLayers);
    TORCH_CHECK_VALUE(layers <= kMaxLayers, op, ": weights: expected at most ", kMaxLayers,
                      " layers, got ", layers, "; mlp takes more one by one");
    std::vector<at::Tensor> flat;
    params.layers = static_cast<int32_t>(layers);
    params.width[0] = network.width[0];
    for (int64_t l = 0; l < layers; ++l) {
      flat.push_back(weights[l].reshape({-1}));
      flat.push_back(biases[l]);
      params.width[l + 1] = network.width[l + 1];
      params.offset[l + 1] = params.offset[l] + weights[l].numel() + biases[l].numel();
    }
    parameters = at::cat(flat);
    params.hidden = network.hidden;
    params.final = network.final;
    params.rows = network.rows;
    params.x = x.const_data_ptr<T>();
    params.parameters = parameters.template const_data_ptr<T>();
    C10_CUDA_CHECK(mlp_configure(backward, &params));
    if (params.shared_slab) return;
    scratch = at::empty({params.blocks * params.slab}, x.options());
    params.scratch = scratch.template data_ptr<T>();
  }
};

at::Tensor mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
               std::string_view activation, std::string_view final_activation) {
  if (!is_fused(weights))
    return forward_by_layers(x, weights, biases, activation, final_activation);
  const Network network = check_mlp(x, weights, biases, activation, final_activation);
  at::Tensor y = at::empty({network.rows, network.width.back()}, x.options());
  if (y.numel() == 0) return y;
  dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call("mlp", network, x, weights, biases, false);
    call.params.y = y.data_ptr<T>();
    C10_CUDA_CHECK(launch_mlp(call.params, stream));
  });
  return y;
}

std::tuple<at::Tensor, at::Tensor> mlp_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                                at::TensorList weights, at::TensorList biases,
                                                std::string_view activation,
                                                std::string_view final_activation,
                                                std::array<bool, 2> output_mask) {
  const Network network =
      check_mlp_backward(grad_y, x, weights, biases, activation, final_activation, output_mask);
  const int64_t parameters = output_mask[1] ? network.parameters : 0;
  const at::Tensor grad_x = empty_if(output_mask[0], x.sizes(), x);
  if (network.rows == 0 || network.width.back() == 0)
    return {grad_x.zero_(), at::zeros({parameters}, x.options())};
  at::Tensor grad_parameters = at::empty({parameters}, x.options());
  dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call("mlp_backward", network, x, weights, biases, true);
    const at::Tensor grads = grad_y.contiguous();
    const at::Tensor partial = at::empty({call.params.blocks, parameters}, x.options());
    call.params.grad_y = grads.const_data_ptr<T>();
    if (output_mask[0]) call.params.grad_x = grad_x.data_ptr<T>();
    if (output_mask[1]) {
      call.params.partial = partial.data_ptr<T>();
      call.params.grad_parameters = grad_parameters.data_ptr<T>();
    }
    C10_CUDA_CHECK(launch_mlp_backward(call.params, stream));
  });
  return {grad_x, grad_parameters};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("mlp", mlp);
  m.impl("mlp_backward", mlp_backward);
}

}  // namespace pyneural::mlp
