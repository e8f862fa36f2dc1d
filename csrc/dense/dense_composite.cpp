// The dense layer by torch's own functions, for devices that have no kernel of ours.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "../common/torch_activation.h"
#include "dense_check.h"

namespace pyneural::dense {
namespace {

at::Tensor dense(const at::Tensor& x, const at::Tensor& weight,
                 const std::optional<at::Tensor>& bias, std::string_view activation) {
  const Layer layer = check_dense("dense", x, weight, bias, activation);
  return torch_activation(layer.activation, at::linear(x, weight, bias));
}

std::tuple<at::Tensor, at::Tensor> dense_with_preactivation(const at::Tensor& x,
                                                            const at::Tensor& weight,
                                                            const std::optional<at::Tensor>& bias,
                                                            std::string_view activation) {
  const Layer layer = check_dense("dense", x, weight, bias, activation);
  const at::Tensor z = at::linear(x, weight, bias);
  const bool keeps_z = needs_preactivation(layer.activation);
  return {torch_activation(layer.activation, z), keeps_z ? z : at::empty({0}, x.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> dense_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& weight,
    const at::Tensor& saved, std::string_view activation, std::array<bool, 3> output_mask) {
  const Layer layer = check_dense_backward(grad_y, x, weight, saved, activation);
  const at::Tensor none = at::empty({0}, x.options());
  const at::Tensor grad_z =
      torch_activation_backward(layer.activation, grad_y, saved).reshape({layer.rows, layer.out});
  return {output_mask[0] ? grad_z.mm(weight).reshape(x.sizes()) : none,
          output_mask[1] ? grad_z.t().mm(x.reshape({layer.rows, layer.in})) : none,
          output_mask[2] ? grad_z.sum(0) : none};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("dense", dense);
  m.impl("dense_with_preactivation", dense_with_preactivation);
  m.impl("dense_backward", dense_backward);
}

}  // namespace pyneural::dense
