// What every jet op asks of its arguments, the same on every device, before memory is touched.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "../common/checks.h"
#include "plan.h"
#include "residual.h"

namespace pyneural::jet {

// The sizes of one call: the network, the points, and the plan of its channels.
struct Network : NetworkSizes {
  Plan plan;
  ActivationKind activation = ActivationKind::linear;
  int64_t points = 0;      // N
  bool has_jet_x = false;  // x is the jet of the inputs, [C, N, D], not points [N, D]

  int64_t inputs() const { return width.front(); }
  int64_t outputs() const { return width.back(); }
};

struct Arguments {
  const at::Tensor& x;
  at::TensorList weights, biases;
  std::string_view activation;
  at::IntArrayRef derivatives;
  at::ArrayRef<double> operator_coefficients;
};
struct BackwardArguments {
  const at::Tensor& grad_output;
  Arguments forward;
  std::array<bool, 2> output_mask;
};
struct ResidualArguments {
  Arguments network;
  at::IntArrayRef residual;
  at::ArrayRef<double> constants;
  const at::Tensor& coefficients;
  const OptionalTensor& columns;
};
using ResidualMask = std::array<bool, 3>;  // x; parameters and coefficients; columns
struct LossArguments {
  ResidualArguments forward;
  ResidualMask output_mask;
};
struct ResidualBackwardArguments {
  const at::Tensor& grad_output;
  ResidualArguments forward;
  ResidualMask output_mask;
};

struct PathArguments {
  ResidualArguments residual;
  const at::Tensor& path;
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, at::TensorList, at::TensorList, std::string_view,
                                at::IntArrayRef, at::ArrayRef<double>);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, at::TensorList,
                                 at::TensorList, std::string_view, at::IntArrayRef,
                                 at::ArrayRef<double>, std::array<bool, 2>);
template <class Result>
using ResidualSignature = Result(const at::Tensor&, at::TensorList, at::TensorList,
                                 std::string_view, at::IntArrayRef, at::ArrayRef<double>,
                                 at::IntArrayRef, at::ArrayRef<double>, const at::Tensor&,
                                 const OptionalTensor&);
template <class Result>
using LossSignature = Result(const at::Tensor&, at::TensorList, at::TensorList, std::string_view,
                             at::IntArrayRef, at::ArrayRef<double>, at::IntArrayRef,
                             at::ArrayRef<double>, const at::Tensor&, const OptionalTensor&,
                             ResidualMask);
template <class Result>
using ResidualBackwardSignature = Result(const at::Tensor&, const at::Tensor&, at::TensorList,
                                         at::TensorList, std::string_view, at::IntArrayRef,
                                         at::ArrayRef<double>, at::IntArrayRef,
                                         at::ArrayRef<double>, const at::Tensor&,
                                         const OptionalTensor&, ResidualMask);
template <class Result>
using PathSignature = Result(const at::Tensor&, at::TensorList, at::TensorList, std::string_view,
                             at::IntArrayRef, at::ArrayRef<double>, at::IntArrayRef,
                             at::ArrayRef<double>, const at::Tensor&, const OptionalTensor&,
                             const at::Tensor&);

namespace detail {

// coordinates: how many there are, which nothing says where x is a jet.
inline void check_plan(const char* op, const DerivativeList& derivatives,
                       std::optional<int64_t> coordinates, Plan* plan) {
  const int64_t inputs = coordinates.value_or(kMaxInput + 1);
  const auto [error, got] = make_plan(derivatives, inputs, plan);
  const auto refuse = [&](const char* argument, const auto&... text) {
    TORCH_CHECK_VALUE(false, op, ": ", argument, ": expected ", text...);
  };
  const auto refuse_more = [&](int most, const char* what, const char* remedy) {
    refuse("derivatives", "at most ", most, what, ", got more; ask for them in several calls",
           remedy);
  };
  const char* const encode = "; pyneural.ops.jet.derivatives.encode writes the list";
  switch (error) {
    case PlanError::none:
      return;
    case PlanError::truncated:
      return refuse("derivatives", "as many input indices as the orders say, got ",
                    at::IntArrayRef(derivatives.indices.data(), derivatives.indices.size()),
                    encode);
    case PlanError::order:
      return refuse("derivatives", "orders 1 to ", kMaxOrder, ", got ", got,
                    "; take a derivative of the residual with torch.autograd.grad instead");
    case PlanError::coefficients:
      return refuse("operator_coefficients",
                    "one for each partial derivative of the linear operators, got ",
                    derivatives.coefficients.size(), encode);
    case PlanError::not_finite:
      return refuse("operator_coefficients",
                    "finite numbers, got inf or nan; leave the derivative out");
    case PlanError::index:
      if (!coordinates)
        return refuse("derivatives", "input indices 0 to ", kMaxInput, ", got ", got,
                      "; number the coordinates from 0");
      return refuse("derivatives", "input indices 0 to ", std::min(inputs - 1, kMaxInput),
                    " (x has ", inputs, " columns), got ", got, "; number the columns of x from 0");
    case PlanError::outputs:
      return refuse_more(kMaxOutputs - 1, "", "");
    case PlanError::channels:
      return refuse_more(kMaxChannels, " channels with the lower orders that they need",
                         ", or split an operator");
    case PlanError::terms:
      return refuse_more(kMaxTerms, " products in the chain rule", ", or split an operator");
    case PlanError::seeds:
      return refuse_more(kMaxSeeds, " first derivatives, those in operators included",
                         ", or split an operator");
  }
}

inline Network check_network(const char* op, const Arguments& a) {
  Network network;
  const DerivativeList list{
      {a.derivatives.data(), a.derivatives.size()},
      {a.operator_coefficients.data(), a.operator_coefficients.size()},
  };
  network.has_jet_x = a.x.defined() && !a.x.is_nested() && a.x.dim() == 3;
  // Sizes are not assigned in braces, which would also clear the plan.
  if (network.has_jet_x) {
    const char* const letters = "[1 + K, points, inputs]";
    check_dtype({op, "x"}, a.x, Precisions::full, "convert it with x.float()");
    check_layer_count(op, a.weights, a.biases);
    check_plan(op, list, std::nullopt, &network.plan);
    TORCH_CHECK_VALUE(a.x.size(0) == network.plan.channels, op, ": x: expected the ",
                      network.plan.channels, " channels of the inputs' jet, ", letters,
                      ", got shape ", a.x.sizes(),
                      "; pyneural.ops.input_channels(derivatives) names the K derivatives");
    static_cast<NetworkSizes&>(network) =
        check_layer_sizes(op, a.x, a.weights, a.biases, letters, 1);
  } else {
    static_cast<NetworkSizes&>(network) =
        pyneural::check_network(op, a.x, a.weights, a.biases, "[points, inputs]", 1);
    check_plan(op, list, network.inputs(), &network.plan);
  }
  network.points = a.x.size(-2);
  network.activation = check_activation({op, "activation"}, a.activation);
  TORCH_CHECK_VALUE(
      properties_of(network.activation).is_smooth || network.plan.order < 2, op,
      ": activation: got \"", a.activation, "\" with derivatives of order ", network.plan.order,
      ", but its second derivative is zero almost everywhere; use ", list_activations(true));
  return network;
}

}  // namespace detail

inline Network check_jet_mlp(const Arguments& a) { return detail::check_network("jet_mlp", a); }

inline Network check_jet_mlp_jacobian(const Arguments& a) {
  return detail::check_network("jet_mlp_jacobian", a);
}

inline Network check_jet_mlp_backward(const BackwardArguments& b) {
  const char* const op = "jet_mlp_backward";
  Network network = detail::check_network(op, b.forward);
  check_like({op, "grad_output"}, b.grad_output,
             {network.plan.outputs, network.points, network.outputs()}, {"x", b.forward.x},
             "give it the shape of jet_mlp's result");
  return network;
}

// The network and the program of a call.
struct ResidualCall {
  Network network;
  ResidualProgram program;

  int64_t equations() const { return static_cast<int64_t>(program.residuals.size()); }
};

namespace detail {

// with_mean: whether the op takes a mean over the points.
inline ResidualCall check_residual(const char* op, const ResidualArguments& a, bool with_mean) {
  const at::Tensor &x = a.network.x, &coefficients = a.coefficients;
  ResidualCall call{check_network(op, a.network)};
  const Network& network = call.network;
  TORCH_CHECK_VALUE(!with_mean || network.points > 0, op,
                    ": x: expected at least one point, got shape ", x.sizes(),
                    "; the mean over no points is not defined");
  check_given({op, "coefficients"}, coefficients);
  TORCH_CHECK_VALUE(coefficients.dim() == 1 && coefficients.scalar_type() == x.scalar_type() &&
                        coefficients.device() == x.device(),
                    op, ": coefficients: expected a 1-d tensor of ", x.scalar_type(), " on ",
                    x.device(), " like x, got ", coefficients.scalar_type(), " of shape ",
                    coefficients.sizes(), " on ", coefficients.device(),
                    "; convert it with .to(x)");
  int64_t columns = 0;
  if (a.columns) {
    const at::Tensor& given = *a.columns;
    check_given({op, "columns"}, given);
    columns = given.dim() > 0 ? given.size(0) : 0;
    check_like({op, "columns", -1, "[columns, points]"}, given, {columns, network.points}, {"x", x},
               "give each column a value for each point");
  }
  std::string error;
  const bool is_valid = read_residual(
      {a.residual.data(), a.residual.size()}, {a.constants.data(), a.constants.size()},
      {network.plan.outputs, network.outputs(), network.has_jet_x ? 0 : network.inputs(),
       coefficients.size(0), columns},
      &call.program, &error);
  TORCH_CHECK_VALUE(is_valid, op, ": residual: ", error,
                    "; pyneural.ops.record_residual writes the list");
  return call;
}

}  // namespace detail

inline ResidualCall check_jet_mlp_loss(const LossArguments& a) {
  return detail::check_residual("jet_mlp_loss", a.forward, true);
}

inline ResidualCall check_jet_mlp_residual(const ResidualArguments& a) {
  return detail::check_residual("jet_mlp_residual", a, false);
}

inline ResidualCall check_jet_mlp_residual_backward(const ResidualBackwardArguments& b) {
  const char* const op = "jet_mlp_residual_backward";
  ResidualCall call = detail::check_residual(op, b.forward, false);
  check_like({op, "grad_output"}, b.grad_output, {call.equations(), call.network.points},
             {"x", b.forward.network.x}, "give it the shape of jet_mlp_residual's result");
  return call;
}

inline ResidualCall check_jet_mlp_residual_jacobian(const ResidualArguments& a) {
  return detail::check_residual("jet_mlp_residual_jacobian", a, false);
}

inline ResidualCall check_jet_mlp_gram(const ResidualArguments& a) {
  return detail::check_residual("jet_mlp_gram", a, true);
}

constexpr int64_t kMaxPathOrder = 4;

inline ResidualCall check_jet_mlp_path(const PathArguments& a) {
  const char* const op = "jet_mlp_path";
  const ResidualCall call = detail::check_residual(op, a.residual, false);
  const int64_t size = call.network.parameters + a.residual.coefficients.size(0);
  check_given({op, "path"}, a.path);
  const int64_t order = a.path.dim() > 0 ? a.path.size(0) : 0;
  TORCH_CHECK_VALUE(a.path.dim() == 2 && order >= 1 && order <= kMaxPathOrder, op,
                    ": path: expected shape [K, ", size, "], K from 1 to ", kMaxPathOrder, ", got ",
                    a.path.sizes(),
                    "; a direction v of all parameters and coefficients is the path v[None]");
  check_like({op, "path"}, a.path, {order, size}, {"x", a.residual.network.x},
             "give each derivative of all parameters, then coefficients, a row");
  return call;
}

}  // namespace pyneural::jet
