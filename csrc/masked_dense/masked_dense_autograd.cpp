// The sparsely connected layer under autograd.
#include <torch/library.h>

#include "../common/autograd.h"
#include "masked_dense_check.h"

namespace pyneural::masked_dense {
namespace {

constexpr Op<"pyneural::masked_dense", ForwardSignature<Two>> call_masked_dense;
constexpr Op<"pyneural::masked_dense_backward", BackwardSignature<Three>>
    call_masked_dense_backward;

struct MaskedDense : torch::autograd::Function<MaskedDense> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& values,
                               const at::Tensor& starts, const at::Tensor& inputs,
                               const OptionalTensor& bias, std::string_view activation) {
    const at::AutoDispatchBelowADInplaceOrView below;
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
    const variable_list saved = ctx->get_saved_variables();
    const bool with_bias = saved[4].defined() && ctx->needs_input_grad(4);
    const auto [grad_x, grad_values, grad_bias] =
        call_backward(call_masked_dense_backward, grads[0], saved[0], saved[1], saved[2], saved[3],
                      if_defined(saved[4]), saved[5], ctx->saved_data["activation"].toStringRef(),
                      ctx->needs_input_grad(0));
    return {ctx->needs_input_grad(0) ? grad_x : at::Tensor(),
            ctx->needs_input_grad(1) ? grad_values : at::Tensor(),
            at::Tensor(),
            at::Tensor(),
            with_bias ? grad_bias : at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_masked_dense", FlatOp<check_masked_dense, ForwardSignature<void>>::call);
  m.def("check_masked_dense_backward",
        FlatOp<check_masked_dense_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("masked_dense", AutogradOp<MaskedDense, call_masked_dense>::call);
}

}  // namespace pyneural::masked_dense
