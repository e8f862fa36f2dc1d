#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <string>
#include <vector>

#include "../common/signatures.h"

namespace pyneural::jet {

// The arguments of the op jet_mlp_loss that are no tensors, by the names of its schema.
struct LossPlan : torch::CustomClassHolder {
  std::string activation;
  std::vector<int64_t> derivatives;
  std::vector<double> operator_coefficients;
  std::vector<int64_t> residual;
  std::vector<double> constants;
};

// The loss of the op jet_mlp_loss under autograd.
at::Tensor jet_mlp_loss(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        c10::intrusive_ptr<LossPlan> plan, const at::Tensor& coefficients,
                        const OptionalTensor& columns);

}  // namespace pyneural::jet
