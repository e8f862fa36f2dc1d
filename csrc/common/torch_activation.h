// The activations by torch's own functions, on any device: for the graphs of second derivatives,
// and for devices that have no kernel of ours.
#pragma once

#include <ATen/ATen.h>

#include "activation.h"

namespace pyneural {

// f(z), differentiable.
inline at::Tensor torch_activation(ActivationKind kind, const at::Tensor& z) {
  switch (kind) {
    case ActivationKind::tanh:
      return at::tanh(z);
    case ActivationKind::sin:
      return at::sin(z);
    case ActivationKind::sigmoid:
      return at::sigmoid(z);
    case ActivationKind::silu:
      return at::silu(z);
    case ActivationKind::gelu:
      return at::gelu(z);
    case ActivationKind::gelu_tanh:
      return at::gelu(z, "tanh");
    case ActivationKind::softplus:
      return at::softplus(z);
    case ActivationKind::linear:
      return z;
    case ActivationKind::relu:
      return at::relu(z);
    case ActivationKind::leaky_relu:
      return at::leaky_relu(z);
    case ActivationKind::elu:
      return at::elu(z);
  }
  return {};
}

// grad f'(z); saved: f(z) where f' is a function of it, else z.
inline at::Tensor torch_activation_backward(ActivationKind kind, const at::Tensor& grad,
                                            const at::Tensor& saved) {
  switch (kind) {
    case ActivationKind::tanh:
      return at::tanh_backward(grad, saved);
    case ActivationKind::sin:
      return grad * at::cos(saved);
    case ActivationKind::sigmoid:
      return at::sigmoid_backward(grad, saved);
    case ActivationKind::silu:
      return at::silu_backward(grad, saved);
    case ActivationKind::gelu:
      return at::gelu_backward(grad, saved);
    case ActivationKind::gelu_tanh:
      return at::gelu_backward(grad, saved, "tanh");
    case ActivationKind::softplus:
      return at::softplus_backward(grad, saved, 1, 20);
    case ActivationKind::linear:
      return grad;
    case ActivationKind::relu:
      return at::threshold_backward(grad, saved, 0);
    case ActivationKind::leaky_relu:
      return at::leaky_relu_backward(grad, saved, 0.01, /*self_is_result=*/true);
    case ActivationKind::elu:
      return at::elu_backward(grad, 1, 1, 1, /*is_result=*/true, saved);
  }
  return {};
}

}  // namespace pyneural
