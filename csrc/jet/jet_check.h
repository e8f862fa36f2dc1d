// What every jet op asks of its arguments, the same on every device, before memory is touched.
#pragma once

#include <algorithm>
#include <array>
#include <string>

#include "../common/checks.h"
#include "network.h"
#include "residual.h"

namespace pyneural::jet {

namespace detail {

inline void check_plan(const char* op, const DerivativeList& derivatives, int64_t inputs,
                       Plan* plan) {
  const auto [error, got] = make_plan(derivatives, inputs, plan);
  switch (error) {
    case PlanError::none:
      break;
    case PlanError::truncated:
      TORCH_CHECK_VALUE(false, op,
                        ": derivatives: expected as many input indices as the orders say, "
                        "got ",
                        at::IntArrayRef(derivatives.indices.data(), derivatives.indices.size()),
                        "; pyneural.ops.jet.derivatives.encode writes the list");
    case PlanError::order:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected orders 1 to ", kMaxOrder, ", got ", got,
                        "; take a derivative of the residual with torch.autograd.grad instead");
    case PlanError::coefficients:
      TORCH_CHECK_VALUE(false, op,
                        ": operator_coefficients: expected one for each partial "
                        "derivative of the linear operators, got ",
                        derivatives.coefficients.size(),
                        "; pyneural.ops.jet.derivatives.encode writes the list");
    case PlanError::not_finite:
      TORCH_CHECK_VALUE(false, op,
                        ": operator_coefficients: expected finite numbers, got inf or "
                        "nan; leave the derivative out");
    case PlanError::index:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected input indices 0 to ",
                        std::min(inputs - 1, kMaxInput), " (x has ", inputs, " columns), got ", got,
                        "; number the columns of x from 0");
    case PlanError::outputs:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxOutputs - 1,
                        ", got more; ask for them in several calls");
    case PlanError::channels:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxChannels,
                        " channels with the lower orders that they need, got more; ask for them in "
                        "several calls, or split an operator");
    case PlanError::terms:
      TORCH_CHECK_VALUE(false, op, ": derivatives: expected at most ", kMaxTerms,
                        " products in the chain rule, got more; ask for them in several calls, or "
                        "split an operator");
    case PlanError::seeds:
      TORCH_CHECK_VALUE(
          false, op, ": derivatives: expected at most ", kMaxSeeds,
          " first derivatives, those in operators included, got more; ask for them in "
          "several calls, or split an operator");
  }
}

inline Network check_network(const char* op, const at::Tensor& x, at::TensorList weights,
                             at::TensorList biases, std::string_view activation,
                             at::IntArrayRef derivatives,
                             at::ArrayRef<double> operator_coefficients) {
  Network network;
  network.width = pyneural::check_network(op, x, weights, biases, "[points, inputs]", 1);
  network.points = x.size(0);
  for (int64_t l = 0; l < network.layers(); ++l)
    network.parameters += network.width[l + 1] * (network.width[l] + 1);
  const DerivativeList list{
      {derivatives.data(), derivatives.size()},
      {operator_coefficients.data(), operator_coefficients.size()},
  };
  check_plan(op, list, network.inputs(), &network.plan);
  network.activation = check_activation({op, "activation"}, activation);
  TORCH_CHECK_VALUE(
      properties_of(network.activation).is_smooth || network.plan.order < 2, op,
      ": activation: got \"", activation, "\" with derivatives of order ", network.plan.order,
      ", but its second derivative is zero almost everywhere; use ", list_activations(true));
  return network;
}

}  // namespace detail

// One for each op, of the op's arguments.

inline Network check_jet_mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                             std::string_view activation, at::IntArrayRef derivatives,
                             at::ArrayRef<double> operator_coefficients) {
  return detail::check_network("jet_mlp", x, weights, biases, activation, derivatives,
                               operator_coefficients);
}

inline Network check_jet_mlp_jacobian(const at::Tensor& x, at::TensorList weights,
                                      at::TensorList biases, std::string_view activation,
                                      at::IntArrayRef derivatives,
                                      at::ArrayRef<double> operator_coefficients) {
  return detail::check_network("jet_mlp_jacobian", x, weights, biases, activation, derivatives,
                               operator_coefficients);
}

inline Network check_jet_mlp_backward(const at::Tensor& grad_output, const at::Tensor& x,
                                      at::TensorList weights, at::TensorList biases,
                                      std::string_view activation, at::IntArrayRef derivatives,
                                      at::ArrayRef<double> operator_coefficients,
                                      std::array<bool, 2>) {
  const char* const op = "jet_mlp_backward";
  Network network =
      detail::check_network(op, x, weights, biases, activation, derivatives, operator_coefficients);
  check_like({op, "grad_output"}, grad_output,
             {network.plan.outputs, network.points, network.outputs()}, {"x", x},
             "give it the shape of jet_mlp's result");
  return network;
}

struct LossCall {
  Network network;
  ResidualProgram program;
};

inline LossCall check_jet_mlp_loss(const at::Tensor& x, at::TensorList weights,
                                   at::TensorList biases, std::string_view activation,
                                   at::IntArrayRef derivatives,
                                   at::ArrayRef<double> operator_coefficients,
                                   at::IntArrayRef residual, at::ArrayRef<double> constants,
                                   const at::Tensor& coefficients, bool) {
  const char* const op = "jet_mlp_loss";
  LossCall call{detail::check_network(op, x, weights, biases, activation, derivatives,
                                      operator_coefficients)};
  const Network& network = call.network;
  TORCH_CHECK_VALUE(network.points > 0, op, ": x: expected at least one point, got shape ",
                    x.sizes(), "; the mean over no points is not defined");
  TORCH_CHECK_VALUE(coefficients.dim() == 1 && coefficients.scalar_type() == x.scalar_type() &&
                        coefficients.device() == x.device(),
                    op, ": coefficients: expected a 1-d tensor of ", x.scalar_type(), " on ",
                    x.device(), " like x, got ", coefficients.scalar_type(), " of shape ",
                    coefficients.sizes(), " on ", coefficients.device(),
                    "; convert it with .to(x)");
  std::string error;
  const bool is_valid = read_residual(
      {residual.data(), residual.size()}, {constants.data(), constants.size()},
      {network.plan.outputs, network.outputs(), network.inputs(), coefficients.size(0)},
      &call.program, &error);
  TORCH_CHECK_VALUE(is_valid, op, ": residual: ", error,
                    "; pyneural.ops.record_residual writes the list");
  return call;
}

}  // namespace pyneural::jet
