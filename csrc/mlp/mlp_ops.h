// The mlp ops around the kernels of a device: checks, and memory for what they return.
#pragma once

#include <torch/library.h>

#include "../common/results.h"
#include "mlp_layers.h"

namespace pyneural::mlp {

// Kernels has
//   forward(network, x, weights, biases, y)
//   backward(network, grad_y, x, weights, biases, grad_x, grad_parameters)  empty if not wanted
// which are called where there is something to do. x, grad_y and the results are contiguous.
template <class Kernels>
struct Ops {
  static at::Tensor mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        std::string_view activation, std::string_view final_activation) {
    if (!is_fused(weights))
      return forward_by_layers(x, weights, biases, activation, final_activation);
    const Network network = check_mlp(x, weights, biases, activation, final_activation);
    const at::Tensor y = empty_if(true, {network.rows, network.width.back()}, x);
    if (y.numel() > 0) Kernels::forward(network, *x.expect_contiguous(), weights, biases, y);
    return y;
  }

  static std::tuple<at::Tensor, at::Tensor> mlp_backward(
      const at::Tensor& grad_y, const at::Tensor& x, at::TensorList weights, at::TensorList biases,
      std::string_view activation, std::string_view final_activation,
      std::array<bool, 2> output_mask) {
    const Network network =
        check_mlp_backward(grad_y, x, weights, biases, activation, final_activation, output_mask);
    const at::Tensor grad_x = empty_if(output_mask[0], x.sizes(), x),
                     grad_parameters = empty_if(output_mask[1], {network.parameters}, x);
    if (grad_y.numel() == 0) return {grad_x.zero_(), grad_parameters.zero_()};
    Kernels::backward(network, *grad_y.expect_contiguous(), *x.expect_contiguous(), weights, biases,
                      grad_x, grad_parameters);
    return {grad_x, grad_parameters};
  }

  static void add_to(torch::Library& library) {
    library.impl("mlp", mlp);
    library.impl("mlp_backward", mlp_backward);
  }
};

}  // namespace pyneural::mlp
