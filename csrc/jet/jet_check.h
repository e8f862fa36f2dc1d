// What every jet op asks of its arguments, the same on every device, before memory is touched.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "../common/checks.h"
#include "derivatives.h"
#include "network.h"

namespace pyneural::jet {

namespace detail {

inline void check_like(const char* op, const char* argument, int64_t l, const at::Tensor& tensor,
                       at::IntArrayRef shape, const at::Tensor& x) {
  TORCH_CHECK_VALUE(tensor.sizes() == shape, op, ": ", argument, "[", l, "]: expected shape ",
                    shape, ", got ", tensor.sizes(),
                    "; a layer's inputs are the outputs of the one before");
  TORCH_CHECK_VALUE(tensor.scalar_type() == x.scalar_type(), op, ": ", argument, "[", l,
                    "]: expected ", x.scalar_type(), " like x, got ", tensor.scalar_type(),
                    "; convert the network or x with .to(dtype)");
  TORCH_CHECK_VALUE(tensor.device() == x.device(), op, ": ", argument, "[", l, "]: expected ",
                    x.device(), " like x, got ", tensor.device(), "; move it with .to(device)");
}

constexpr size_t kQuoted = 80;  // of a text in an error

inline Plan checked_plan(const char* op, std::string_view text, int64_t inputs) {
  Derivatives derivatives;
  const std::string got =
      ", got \"" + std::string(text.substr(0, kQuoted)) + (text.size() > kQuoted ? "...\"" : "\"");
  switch (derivatives.parse(text)) {
    case DerivativesError::none:
      break;
    case DerivativesError::order:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected orders 1 to ", kMaxOrder,
                        ", got a higher one in \"", text.substr(0, kQuoted),
                        "\"; take a derivative of the residual with torch.autograd.grad instead");
    case DerivativesError::malformed:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected input indices such as \"0; 1 1\"", got,
                        "; pyneural.ops.derivatives.encode writes them");
  }
  const std::vector<Derivative>& list = derivatives.list();
  Plan plan;
  switch (make_plan(list.data(), static_cast<int64_t>(list.size()), inputs, &plan)) {
    case PlanError::none:
      break;
    case PlanError::index:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected input indices 0 to ",
                        std::min(inputs - 1, kMaxInput), " (x has ", inputs, " columns)", got,
                        "; number the columns of x from 0");
    case PlanError::outputs:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxOutputs - 1, ", got ",
                        list.size(), "; ask for them in several calls");
    case PlanError::channels:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxChannels,
                        " channels with the lower orders that they need", got,
                        "; ask for them in several calls, or split an operator");
    case PlanError::terms:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxTerms,
                        " products in the chain rule", got,
                        "; ask for them in several calls, or split an operator");
    case PlanError::seeds:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxSeeds,
                        " first derivatives, those in operators included", got,
                        "; ask for them in several calls, or split an operator");
  }
  return plan;
}

}  // namespace detail

inline Network check_jet_mlp(const char* op, const at::Tensor& x, at::TensorList weights,
                             at::TensorList biases, std::string_view activation,
                             std::string_view derivatives) {
  TORCH_CHECK_VALUE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, op,
                    ": x: expected float32 or float64, got ", x.scalar_type(),
                    "; convert it with x.float()");
  TORCH_CHECK_VALUE(x.dim() == 2 && x.size(1) >= 1, op,
                    ": x: expected shape [points, inputs] with at least one input, got ", x.sizes(),
                    "; a single point is x[None]");
  TORCH_CHECK_VALUE(
      !weights.empty(), op,
      ": weights: expected at least one layer, got none; give [weight] with its [bias]");
  TORCH_CHECK_VALUE(weights.size() == biases.size(), op, ": biases: expected ", weights.size(),
                    " as there are weights, got ", biases.size(), "; give every layer a bias");
  Network network;
  network.points = x.size(0);
  network.width.push_back(x.size(1));
  for (size_t l = 0; l < weights.size(); ++l) {
    const auto index = static_cast<int64_t>(l);
    TORCH_CHECK_VALUE(weights[l].dim() == 2 && weights[l].size(0) >= 1, op, ": weights[", l,
                      "]: expected shape [outputs, inputs], got ", weights[l].sizes(),
                      "; give it as torch.nn.Linear stores it");
    const int64_t out = weights[l].size(0);
    detail::check_like(op, "weights", index, weights[l], {out, network.width.back()}, x);
    detail::check_like(op, "biases", index, biases[l], {out}, x);
    network.parameters += out * (network.width.back() + 1);
    network.width.push_back(out);
  }
  network.plan = detail::checked_plan(op, derivatives, network.inputs());
  const bool known = find_activation(activation, &network.activation);
  TORCH_CHECK_VALUE(known, op, ": activation: expected ", list_activations(), ", got \"",
                    activation, "\"; choose one of these");
  bool smooth = false;
  visit_activation(network.activation, [&](auto f) { smooth = decltype(f)::kSmooth; });
  TORCH_CHECK_VALUE(smooth || network.plan.order < 2, op, ": activation: got \"", activation,
                    "\" with derivatives of order ", network.plan.order,
                    ", but its second derivative is zero almost everywhere; use tanh, sin, "
                    "sigmoid, silu, gelu, gelu_tanh or softplus");
  return network;
}

inline void check_grad_output(const char* op, const at::Tensor& grad_output, const Network& network,
                              const at::Tensor& x) {
  const int64_t shape[] = {network.plan.outputs, network.points, network.outputs()};
  TORCH_CHECK_VALUE(grad_output.sizes() == at::IntArrayRef(shape), op,
                    ": grad_output: expected shape ", at::IntArrayRef(shape), ", got ",
                    grad_output.sizes(), "; give it the shape of jet_mlp's result");
  TORCH_CHECK_VALUE(
      grad_output.scalar_type() == x.scalar_type() && grad_output.device() == x.device(), op,
      ": grad_output: expected ", x.scalar_type(), " on ", x.device(), " like x, got ",
      grad_output.scalar_type(), " on ", grad_output.device(), "; convert it with .to(x)");
}

}  // namespace pyneural::jet
