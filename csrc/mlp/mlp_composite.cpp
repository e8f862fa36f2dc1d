// A multilayer perceptron by torch's own functions, for devices that have no kernel of ours.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "../common/torch_activation.h"
#include "mlp_check.h"

namespace pyneural::mlp {
namespace {

// The activations [L + 1], a_0 = x first, and in z [L] the pre-activations that a backward wants.
std::vector<at::Tensor> activations(const Network& network, const at::Tensor& x,
                                    at::TensorList weights, at::TensorList biases,
                                    std::vector<at::Tensor>* z) {
  std::vector<at::Tensor> a{x};
  for (int64_t l = 0; l < network.layers(); ++l) {
    const at::Tensor value = at::linear(a.back(), weights[l], biases[l]);
    z->push_back(needs_preactivation(network.activation(l)) ? value : at::Tensor());
    a.push_back(torch_activation(network.activation(l), value));
  }
  return a;
}

at::Tensor mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
               std::string_view activation, std::string_view final_activation) {
  const Network network = check_mlp("mlp", x, weights, biases, activation, final_activation);
  std::vector<at::Tensor> z;
  return activations(network, x, weights, biases, &z).back();
}

std::tuple<at::Tensor, at::Tensor> mlp_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                                at::TensorList weights, at::TensorList biases,
                                                std::string_view activation,
                                                std::string_view final_activation,
                                                std::array<bool, 2> output_mask) {
  const Network network =
      check_mlp_backward(grad_y, x, weights, biases, activation, final_activation);
  std::vector<at::Tensor> z;
  const std::vector<at::Tensor> a = activations(network, x, weights, biases, &z);
  std::vector<at::Tensor> parts(2 * network.layers());
  at::Tensor grad = grad_y;
  for (int64_t l = network.layers() - 1; l >= 0; --l) {
    grad = torch_activation_backward(network.activation(l), grad, z[l].defined() ? z[l] : a[l + 1]);
    if (output_mask[1]) {
      parts[2 * l] = grad.t().mm(a[l]).flatten();
      parts[2 * l + 1] = grad.sum(0);
    }
    if (l > 0 || output_mask[0]) grad = grad.mm(weights[l]);
  }
  const at::Tensor none = at::empty({0}, x.options());
  return {output_mask[0] ? grad : none, output_mask[1] ? at::cat(parts) : none};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("mlp", mlp);
  m.impl("mlp_backward", mlp_backward);
}

}  // namespace pyneural::mlp
