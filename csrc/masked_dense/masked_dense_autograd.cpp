// The sparsely connected layer under autograd.
#include <torch/library.h>

#include "../common/autograd.h"
#include "masked_dense_check.h"

namespace pyneural::masked_dense {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using ForwardSignature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                            const at::Tensor&, const at::Tensor&,
                                                            const OptionalTensor&,
                                                            std::string_view);
using BackwardSignature = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const OptionalTensor&, const at::Tensor&, std::string_view, bool);

std::tuple<at::Tensor, at::Tensor> call_masked_dense(const at::Tensor& x, const at::Tensor& values,
                                                     const at::Tensor& starts,
                                                     const at::Tensor& inputs,
                                                     const OptionalTensor& bias,
                                                     std::string_view activation) {
  static const auto op = find_op<ForwardSignature>("pyneural::masked_dense");
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(x, values, starts, inputs, bias, activation);
}

struct MaskedDense : torch::autograd::Function<MaskedDense> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& values,
                               const at::Tensor& starts, const at::Tensor& inputs,
                               const OptionalTensor& bias, std::string_view activation) {
    const auto [y, z] = call_masked_dense(x, values, starts, inputs, bias, activation);
    ActivationKind kind{};
    find_activation(activation, &kind);
    ctx->saved_data["activation"] = std::string(activation);
    ctx->save_for_backward({x, values, starts, inputs, bias.value_or(at::Tensor()),
                            needs_preactivation(kind) ? z : y});
    ctx->mark_non_differentiable({z});
    return {y, z};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    static const auto op = find_op<BackwardSignature>("pyneural::masked_dense_backward");
    const variable_list saved = ctx->get_saved_variables();
    const bool with_bias = saved[4].defined() && ctx->needs_input_grad(4);
    const auto [grad_x, grad_values, grad_bias] = call_backward(
        op, grads[0], saved[0], saved[1], saved[2], saved[3], if_defined(saved[4]), saved[5],
        ctx->saved_data["activation"].toStringRef(), ctx->needs_input_grad(0));
    return {ctx->needs_input_grad(0) ? grad_x : at::Tensor(),
            ctx->needs_input_grad(1) ? grad_values : at::Tensor(),
            at::Tensor(),
            at::Tensor(),
            with_bias ? grad_bias : at::Tensor(),
            at::Tensor()};
  }
};

std::tuple<at::Tensor, at::Tensor> masked_dense_autograd(
    const at::Tensor& x, const at::Tensor& values, const at::Tensor& starts,
    const at::Tensor& inputs, const OptionalTensor& bias, std::string_view activation) {
  if (!needs_graph(x, values, bias))
    return call_masked_dense(x, values, starts, inputs, bias, activation);
  const variable_list y_and_z = MaskedDense::apply(x, values, starts, inputs, bias, activation);
  return {y_and_z[0], y_and_z[1]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_masked_dense", CheckOp<check_masked_dense>::call);
  m.def("check_masked_dense_backward", CheckOp<check_masked_dense_backward>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("masked_dense", masked_dense_autograd); }

}  // namespace pyneural::masked_dense
