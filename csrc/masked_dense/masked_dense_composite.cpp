// The sparsely connected layer by torch's own functions, for devices that have no kernel of ours:
// a dense layer whose absent weights are zero.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "../common/torch_activation.h"
#include "masked_dense_check.h"

namespace pyneural::masked_dense {
namespace {

// The output of each edge, [E].
at::Tensor outputs_of(const Layer& layer, const at::Tensor& starts) {
  return at::repeat_interleave(starts.diff(), std::optional<int64_t>(layer.edges));
}

at::Tensor dense_weight(const Layer& layer, const at::Tensor& values, const at::Tensor& starts,
                        const at::Tensor& inputs) {
  return at::zeros({layer.out, layer.in}, values.options())
      .index_put_({outputs_of(layer, starts), inputs}, values);
}

std::tuple<at::Tensor, at::Tensor> masked_dense(const at::Tensor& x, const at::Tensor& values,
                                                const at::Tensor& starts, const at::Tensor& inputs,
                                                const std::optional<at::Tensor>& bias,
                                                std::string_view activation) {
  const Layer layer =
      check_masked_dense("masked_dense", x, values, starts, inputs, bias, activation);
  const at::Tensor z = at::linear(x, dense_weight(layer, values, starts, inputs), bias);
  const bool keeps_z = needs_preactivation(layer.activation);
  const at::Tensor y = torch_activation(layer.activation, z);
  return {y, keeps_z ? z : at::empty({0}, x.options())};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> masked_dense_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& values,
    const at::Tensor& starts, const at::Tensor& inputs, const at::Tensor& saved,
    std::string_view activation, bool with_grad_x) {
  const Layer layer =
      check_masked_dense_backward(grad_y, x, values, starts, inputs, saved, activation);
  const at::Tensor grad_z =
      torch_activation_backward(layer.activation, grad_y, saved).reshape({layer.rows, layer.out});
  const at::Tensor grad_weight = grad_z.t().mm(x.reshape({layer.rows, layer.in}));
  const at::Tensor grad_x =
      with_grad_x ? grad_z.mm(dense_weight(layer, values, starts, inputs)).reshape(x.sizes())
                  : at::empty({0}, x.options());
  return {grad_x, grad_weight.index({outputs_of(layer, starts), inputs}), grad_z.sum(0)};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("masked_dense", masked_dense);
  m.impl("masked_dense_backward", masked_dense_backward);
}

}  // namespace pyneural::masked_dense
