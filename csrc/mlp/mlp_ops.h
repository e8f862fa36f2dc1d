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
  static at::Tensor mlp(const Arguments& a) {
    if (!is_fused(a.weights)) return forward_by_layers(a);
    const Network network = check_mlp(a);
    const at::Tensor y = empty_if(true, {network.rows, network.width.back()}, a.x);
    if (y.numel() > 0) Kernels::forward(network, *a.x.expect_contiguous(), a.weights, a.biases, y);
    return y;
  }

  static Two mlp_backward(const BackwardArguments& b) {
    const auto& [grad_y, forward, output_mask] = b;
    const Network network = check_mlp_backward(b);
    const at::Tensor& x = forward.x;
    const at::Tensor grad_x = empty_if(output_mask[0], x.sizes(), x),
                     grad_parameters = empty_if(output_mask[1], {network.parameters}, x);
    if (grad_y.numel() == 0) return {grad_x.zero_(), grad_parameters.zero_()};
    Kernels::backward(network, *grad_y.expect_contiguous(), *x.expect_contiguous(), forward.weights,
                      forward.biases, grad_x, grad_parameters);
    return {grad_x, grad_parameters};
  }

  static void add_to(torch::Library& library) {
    library.impl("mlp", FlatOp<mlp, ForwardSignature<at::Tensor>>::call);
    library.impl("mlp_backward", FlatOp<mlp_backward, BackwardSignature<Two>>::call);
  }
};

}  // namespace pyneural::mlp
