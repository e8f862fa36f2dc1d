// The dense layer under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "dense_check.h"

namespace pyneural::dense {
namespace {

constexpr Op<"pyneural::dense", ForwardSignature<at::Tensor>> call_dense;
constexpr Op<"pyneural::dense_with_preactivation", ForwardSignature<Two>> call_with_preactivation;
constexpr Op<"pyneural::dense_backward", BackwardSignature<Three>> call_dense_backward;

struct Dense : torch::autograd::Function<Dense> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const OptionalTensor& bias, std::string_view activation) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, z] = call_with_preactivation(x, weight, bias, activation);
    ctx->saved_data["activation"] = std::string(activation);
    ActivationKind kind{};
    find_activation(activation, &kind);
    at::Tensor saved;  // what the derivative of the activation is a function of
    if (kind != ActivationKind::linear) saved = needs_preactivation(kind) ? z : y;
    ctx->save_for_backward({x, weight, bias.value_or(at::Tensor()), saved});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &grad_y = grads[0], &bias = saved[2];
    const std::string activation = ctx->saved_data["activation"].toStringRef();
    const std::array<bool, 3> mask = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                      bias.defined() && ctx->needs_input_grad(2)};
    const auto [grad_x, grad_weight, grad_bias] =
        call_backward(call_dense_backward, grad_y, saved[0], saved[1], if_defined(bias),
                      saved[3].defined() ? saved[3] : grad_y, activation, mask);
    return {mask[0] ? grad_x : at::Tensor(), mask[1] ? grad_weight : at::Tensor(),
            mask[2] ? grad_bias : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_dense", FlatOp<check_dense, ForwardSignature<void>>::call);
  m.def("check_dense_with_preactivation", FlatOp<check_dense, ForwardSignature<void>>::call);
  m.def("check_dense_backward", FlatOp<check_dense_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("dense", AutogradOp<Dense, call_dense>::call); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("dense", AutocastOp<call_dense, at::kCPU>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("dense", AutocastOp<call_dense, at::kCUDA>::call);
}

}  // namespace pyneural::dense
