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

// loss, and its gradients for x, for all weights[0], biases[0], weights[1], ..., for the
// coefficients and for the columns
constexpr Op<"pyneural::jet_mlp_loss", LossSignature<Five>> call_jet_mlp_loss;

Five loss_and_gradients(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        const LossPlan& plan, const at::Tensor& coefficients,
                        const OptionalTensor& columns, ResidualMask mask) {
  return call_jet_mlp_loss(x, weights, biases, plan.activation, plan.derivatives,
                           plan.operator_coefficients, plan.residual, plan.constants, coefficients,
                           columns, mask);
}

struct Loss : torch::autograd::Function<Loss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList weights,
                            at::TensorList biases, const c10::intrusive_ptr<LossPlan>& plan,
                            const at::Tensor& coefficients, const OptionalTensor& columns) {
    const ResidualMask mask{
        x.requires_grad(),
        requires_grad(weights) || requires_grad(biases) || requires_grad(coefficients),
        requires_grad(columns)};
    at::AutoDispatchBelowADInplaceOrView below;
    const auto [loss, grad_x, gradient, grad_coefficients, grad_columns] =
        loss_and_gradients(x, weights, biases, *plan, coefficients, columns, mask);
    variable_list saved{x,           coefficients, columns.value_or(at::Tensor()),
                        grad_x,      gradient,     grad_coefficients,
                        grad_columns};
    saved.insert(saved.end(), weights.begin(), weights.end());
    saved.insert(saved.end(), biases.begin(), biases.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return loss;
  }

  // Gradients for x, *weights, *biases, the plan (none), the coefficients and the columns.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::TensorList parameters = at::TensorList(saved).slice(7);
    const size_t layers = parameters.size() / 2;
    const at::Tensor &x = saved[0], &coefficients = saved[1];
    const OptionalTensor columns = if_defined(saved[2]);
    const auto weights = parameters.slice(0, layers), biases = parameters.slice(layers);
    at::Tensor grad_x = saved[3], gradient = saved[4], grad_coefficients = saved[5],
               grad_columns = saved[6];
    const ResidualMask mask{grad_x.numel() > 0, gradient.numel() > 0, grad_columns.numel() > 0};
    if (at::GradMode::is_enabled()) {
      const auto plan =
          c10::static_intrusive_pointer_cast<LossPlan>(ctx->saved_data["plan"].toCapsule());
      std::tie(std::ignore, grad_x, gradient, grad_coefficients, grad_columns) =
          loss_and_gradients(x, weights, biases, *plan, coefficients, columns, mask);
    }
    variable_list result(1 + parameters.size() + 3);
    if (mask[0]) result[0] = grads[0] * grad_x;
    if (mask[2]) result.back() = grads[0] * grad_columns;
    if (!mask[1]) return result;
    const at::Tensor scaled = grads[0] * gradient;
    int64_t offset = 0;
    for (size_t l = 0; l < layers; ++l)
      for (const size_t i : {l, layers + l}) {
        const at::Tensor& parameter = parameters[i];
        if (ctx->needs_input_grad(1 + i))
          result[1 + i] = scaled.narrow(0, offset, parameter.numel()).view(parameter.sizes());
        offset += parameter.numel();
      }
    if (coefficients.numel() > 0) *(result.end() - 2) = grads[0] * grad_coefficients;
    return result;
  }
};

}  // namespace

at::Tensor jet_mlp_loss(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        c10::intrusive_ptr<LossPlan> plan, const at::Tensor& coefficients,
                        const OptionalTensor& columns) {
  if (needs_graph(x, weights, biases, coefficients, columns))
    return Loss::apply(x, weights, biases, plan, coefficients, columns);
  return std::get<0>(
      loss_and_gradients(x, weights, biases, *plan, coefficients, columns, ResidualMask{}));
}

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_jet_mlp", FlatOp<check_jet_mlp, ForwardSignature<void>>::call);
  m.def("check_jet_mlp_backward", FlatOp<check_jet_mlp_backward, BackwardSignature<void>>::call);
  m.def("check_jet_mlp_jacobian", FlatOp<check_jet_mlp_jacobian, ForwardSignature<void>>::call);
  m.def("check_jet_mlp_loss", FlatOp<check_jet_mlp_loss, LossSignature<void>>::call);
  m.def("check_jet_mlp_residual", FlatOp<check_jet_mlp_residual, ResidualSignature<void>>::call);
  m.def("check_jet_mlp_residual_backward",
        FlatOp<check_jet_mlp_residual_backward, ResidualBackwardSignature<void>>::call);
  m.def("check_jet_mlp_residual_jacobian",
        FlatOp<check_jet_mlp_residual_jacobian, ResidualSignature<void>>::call);
  m.def("check_jet_mlp_gram", FlatOp<check_jet_mlp_gram, ResidualSignature<void>>::call);
  m.def("check_jet_mlp_path", FlatOp<check_jet_mlp_path, PathSignature<void>>::call);
}

}  // namespace pyneural::jet
