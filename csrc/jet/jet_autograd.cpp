// The loss of a residual under autograd, in C++: a Function in Python over all parameters of a
// small network takes a tenth of the whole step.
//
// The op gives the gradient beside the loss, so that the backward is a product with it. A graph of
// the backward is that of the op, which ops/jet_autograd.py knows. torch.func does not support
// Functions in C++: ops/jet.py takes the one in Python there.
#include "jet_autograd.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

namespace pyneural::jet {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// loss, its gradient for all weights[0], biases[0], weights[1], ..., and for the coefficients
using LossAndGradient = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

LossAndGradient call_jet_mlp_loss(const at::Tensor& x, at::TensorList weights,
                                  at::TensorList biases, std::string_view activation,
                                  std::string_view derivatives, std::string_view residual,
                                  const at::Tensor& coefficients, bool with_gradient) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("pyneural::jet_mlp_loss", "")
                             .typed<decltype(call_jet_mlp_loss)>();
  return op.call(x, weights, biases, activation, derivatives, residual, coefficients,
                 with_gradient);
}

struct Loss : torch::autograd::Function<Loss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList weights,
                            at::TensorList biases, std::string_view activation,
                            std::string_view derivatives, std::string_view residual,
                            const at::Tensor& coefficients) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto [loss, gradient, grad_coefficients] = call_jet_mlp_loss(
        x, weights, biases, activation, derivatives, residual, coefficients, true);
    variable_list saved{x, coefficients, gradient, grad_coefficients};
    saved.insert(saved.end(), weights.begin(), weights.end());
    saved.insert(saved.end(), biases.begin(), biases.end());
    ctx->save_for_backward(saved);
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["derivatives"] = std::string(derivatives);
    ctx->saved_data["residual"] = std::string(residual);
    return loss;
  }

  // Gradients for x (none), *weights, *biases, three strings and the coefficients.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::TensorList parameters = at::TensorList(saved).slice(4);
    const size_t layers = parameters.size() / 2;
    at::Tensor gradient = saved[2], grad_coefficients = saved[3];
    if (at::GradMode::is_enabled()) {
      const auto text = [&](const char* name) { return ctx->saved_data[name].toStringRef(); };
      const LossAndGradient again = call_jet_mlp_loss(
          saved[0], parameters.slice(0, layers), parameters.slice(layers), text("activation"),
          text("derivatives"), text("residual"), saved[1], true);
      gradient = std::get<1>(again);
      grad_coefficients = std::get<2>(again);
    }
    const at::Tensor scaled = grads[0] * gradient;
    variable_list result(1 + parameters.size() + 4);
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
                        std::string_view activation, std::string_view derivatives,
                        std::string_view residual, const at::Tensor& coefficients) {
  const auto needs_gradient = [](const at::Tensor& tensor) { return tensor.requires_grad(); };
  if (at::GradMode::is_enabled() && (needs_gradient(coefficients) ||
                                     std::any_of(weights.begin(), weights.end(), needs_gradient) ||
                                     std::any_of(biases.begin(), biases.end(), needs_gradient)))
    return Loss::apply(x, weights, biases, activation, derivatives, residual, coefficients);
  return std::get<0>(call_jet_mlp_loss(x, weights, biases, activation, derivatives, residual,
                                       coefficients, false));
}

}  // namespace pyneural::jet
