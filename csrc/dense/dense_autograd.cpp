// The dense layer under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "call_dense.h"
#include "dense_check.h"

namespace pyneural::dense {
namespace {

using Pair = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using ForwardSignature = Pair(const at::Tensor&, const at::Tensor&,
                              const std::optional<at::Tensor>&, std::string_view);
using BackwardSignature = Three(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const std::optional<at::Tensor>&, const at::Tensor&,
                                std::string_view, std::array<bool, 3>);

struct Dense : torch::autograd::Function<Dense> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, std::string_view activation) {
    static const auto op = find_op<ForwardSignature>("pyneural::dense_with_preactivation");
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, z] = op.call(x, weight, bias, activation);
    ctx->saved_data["activation"] = std::string(activation);
    ActivationKind kind{};
    find_activation(activation, &kind);
    at::Tensor saved;  // what the derivative of the activation is a function of
    if (kind != ActivationKind::linear) saved = needs_preactivation(kind) ? z : y;
    ctx->save_for_backward({x, weight, bias.value_or(at::Tensor()), saved});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    static const auto op = find_op<BackwardSignature>("pyneural::dense_backward");
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &grad_y = grads[0], &bias = saved[2];
    const std::string activation = ctx->saved_data["activation"].toStringRef();
    const std::array<bool, 3> mask = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                      bias.defined() && ctx->needs_input_grad(2)};
    const auto [grad_x, grad_weight, grad_bias] =
        call_backward(op, grad_y, saved[0], saved[1], if_defined(bias),
                      saved[3].defined() ? saved[3] : grad_y, activation, mask);
    return {mask[0] ? grad_x : at::Tensor(), mask[1] ? grad_weight : at::Tensor(),
            mask[2] ? grad_bias : at::Tensor(), at::Tensor()};
  }
};

at::Tensor dense_autograd(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, std::string_view activation) {
  if (needs_graph(x, weight, bias)) return Dense::apply(x, weight, bias, activation);
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_dense(x, weight, bias, activation);
}

// As torch.nn.functional.linear: in the lower precision.
template <at::DeviceType device>
at::Tensor dense_autocast(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, std::string_view activation) {
  const Autocast cast(device);
  return call_dense(cast(x), cast(weight), cast(bias), activation);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_dense", CheckOp<check_dense>::call);
  m.def("check_dense_with_preactivation", CheckOp<check_dense>::call);
  m.def("check_dense_backward", CheckOp<check_dense_backward>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("dense", dense_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("dense", dense_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) { m.impl("dense", dense_autocast<at::kCUDA>); }

}  // namespace pyneural::dense
