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
    // Where f' is not constant, second derivatives read all of them. Otherwise a gradient for the
    // weight reads x, and one for x the weight. As in torch, a matrix x is saved itself.
    const bool is_linear = kind == ActivationKind::linear;
    const bool reads_x = !is_linear || weight.requires_grad();
    const bool reads_weight = !is_linear || x.requires_grad();
    variable_list tensors{!reads_x       ? at::Tensor()
                          : x.dim() == 2 ? x
                                         : kept(x),
                          reads_weight ? kept(weight) : at::Tensor(), saved};
    if (bias) tensors.push_back(is_linear ? at::Tensor() : kept(*bias));
    ctx->save_for_backward(std::move(tensors));
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& grad_y = grads[0];
    at::Tensor x = saved[0], weight = saved[1];
    const std::string activation = ctx->saved_data["activation"].toStringRef();
    const bool has_bias = saved.size() == 4;
    const std::array<bool, 3> mask = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                      has_bias && ctx->needs_input_grad(2)};
    // Of what was not saved only the sizes matter.
    if (!x.defined() || !weight.defined()) {
      const c10::SymInt in = weight.defined() ? weight.sym_size(1)
                             : x.defined()    ? x.sym_size(-1)
                                              : c10::SymInt(0);
      c10::SymDimVector of_x(grad_y.sym_sizes());
      of_x.back() = in;
      if (!x.defined()) x = grad_y.new_empty_symint(of_x);
      if (!weight.defined()) weight = grad_y.new_empty_symint({grad_y.sym_size(-1), in});
    }
    const auto [grad_x, grad_weight, grad_bias] = call_backward(
        call_dense_backward, grad_y, x, weight, has_bias ? if_defined(saved[3]) : std::nullopt,
        saved[2].defined() ? saved[2] : grad_y, activation, mask);
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
