#pragma once

#include <ATen/ATen.h>

#include <string_view>

namespace pyneural::jet {

// The loss of the op jet_mlp_loss under autograd, for an x that needs no gradient.
at::Tensor jet_mlp_loss(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        std::string_view activation, std::string_view derivatives,
                        std::string_view residual, const at::Tensor& coefficients);

}  // namespace pyneural::jet
