// The loss of a residual under autograd, in C++: a Function in Python over all parameters of a
// small network takes a tenth of the whole step.
//
// The op gives the gradient beside the loss, so that the backward is a product with it. A graph of
// the backward is that of the op, which ops/jet/autograd.py knows. torch.func does not support
// Functions in C++: ops/jet/functional.py takes the one in Python there.
#include "jet_autograd.h"

#include <torch/library.h>

#include "../common/autograd.h"
#include "jet_check.h"

namespace pyneural::jet {
namespace {

// loss, its gradient for all weights[0], biases[0], weights[1], ..., and for the coefficients
constexpr Op<"pyneural::jet_mlp_loss", LossSignature<Three>> call_jet_mlp_loss;

Three loss_and_gradient(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        const LossPlan& plan, const at::Tensor& coefficients, bool with_gradient) {
  return call_jet_mlp_loss(x, weights, biases, plan.activation, plan.derivatives,
                           plan.operator_coefficients, plan.residual, plan.constants, coefficients,
                           with_gradient);
}

struct Loss : torch::autograd::Function<Loss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList weights,
                            at::TensorList biases, const c10::intrusive_ptr<LossPlan>& plan,
                            const at::Tensor& coefficients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto [loss, gradient, grad_coefficients] =
        loss_and_gradient(x, weights, biases, *plan, coefficients, true);
    variable_list saved{x, coefficients, gradient, grad_coefficients};
    saved.insert(saved.end(), weights.begin(), weights.end());
    saved.insert(saved.end(), biases.begin(), biases.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return loss;
  }

  // Gradients for x (none), *weights, *biases, the plan (none) and the coefficients.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::TensorList parameters = at::TensorList(saved).slice(4);
    const size_t layers = parameters.size() / 2;
    at::Tensor gradient = saved[2], grad_coefficients = saved[3];
    if (at::GradMode::is_enabled()) {
      const auto plan =
          c10::static_intrusive_pointer_cast<LossPlan>(ctx->saved_data["plan"].toCapsule());
      std::tie(std::ignore, gradient, grad_coefficients) = loss_and_gradient(
          saved[0], parameters.slice(0, layers), parameters.slice(layers), *plan, saved[1], true);
    }
    const at::Tensor scaled = grads[0] * gradient;
    variable_list result(1 + parameters.size() + 2);
    int64_t offset = 0;
    for (size_t l = 0; l < layers; ++l)
      for (const size_t i : {l, layers + l}) {
        const at::Tensor& parameter = parameters[i];
        if (ctx->needs_input_grad(1 + i))
          result[1 + i] = scaled.narrow(0, offset, parameter.numel()).view(parameter.sizes());
        offset += parameter.numel();
      }
    if (saved[1].numel() > 0) result.back() = grads[0] * grad_coefficients;
    return result;
  }
};

}  // namespace

at::Tensor jet_mlp_loss(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        c10::intrusive_ptr<LossPlan> plan, const at::Tensor& coefficients) {
  if (needs_graph(weights, biases, coefficients))
    return Loss::apply(x, weights, biases, plan, coefficients);
  return std::get<0>(loss_and_gradient(x, weights, biases, *plan, coefficients, false));
}

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_jet_mlp", FlatOp<check_jet_mlp, ForwardSignature<void>>::call);
  m.def("check_jet_mlp_backward", FlatOp<check_jet_mlp_backward, BackwardSignature<void>>::call);
  m.def("check_jet_mlp_jacobian", FlatOp<check_jet_mlp_jacobian, ForwardSignature<void>>::call);
  m.def("check_jet_mlp_loss", FlatOp<check_jet_mlp_loss, LossSignature<void>>::call);
}

}  // namespace pyneural::jet
