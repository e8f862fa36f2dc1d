// The jet ops around the kernels of a device: checks, and memory for what they return.
#pragma once

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../common/results.h"
#include "jet_check.h"

namespace pyneural::jet {

// Kernels has
//   forward(network, arguments, output)              [1 + K, N, O]
//   backward(network, backward_arguments, grad_x)    of the shape of x; returns grad_parameters
//                                                    [P], as grad_x empty if not wanted
//   jacobian(network, arguments, jacobian)           [N, (1 + K) O, P]
// which are called where there are points.
template <class Kernels>
struct Ops {
  static at::Tensor jet_mlp(const Arguments& a) {
    const Network network = check_jet_mlp(a);
    at::Tensor output =
        at::empty({network.plan.outputs, network.points, network.outputs()}, a.x.options());
    if (network.points > 0) Kernels::forward(network, a, output);
    return output;
  }

  static Two jet_mlp_backward(const BackwardArguments& b) {
    const Network network = check_jet_mlp_backward(b);
    const at::Tensor& x = b.forward.x;
    const at::Tensor grad_x = empty_if(b.output_mask[0], x.sizes(), x);
    if (network.points == 0)
      return {grad_x, empty_if(b.output_mask[1], {network.parameters}, x).zero_()};
    return {grad_x, Kernels::backward(network, b, grad_x)};
  }

  static at::Tensor jet_mlp_jacobian(const Arguments& a) {
    const Network network = check_jet_mlp_jacobian(a);
    at::Tensor jacobian =
        at::empty({network.points, network.plan.outputs * network.outputs(), network.parameters},
                  a.x.options());
    if (network.points > 0) Kernels::jacobian(network, a, jacobian);
    return jacobian;
  }

  static void add_to(torch::Library& library) {
    library.impl("jet_mlp", FlatOp<jet_mlp, ForwardSignature<at::Tensor>>::call);
    library.impl("jet_mlp_backward", FlatOp<jet_mlp_backward, BackwardSignature<Two>>::call);
    library.impl("jet_mlp_jacobian", FlatOp<jet_mlp_jacobian, ForwardSignature<at::Tensor>>::call);
  }
};

}  // namespace pyneural::jet
