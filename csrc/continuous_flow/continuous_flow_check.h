// What the continuous_flow ops ask of their arguments before memory is touched.
#pragma once

#include <array>
#include <cmath>

#include "../common/checks.h"

namespace pyneural::continuous_flow {

// dx/dt = u(t, x, c), a network with one or two hidden layers whose inputs are
// [cos(w_1 t), ..., cos(w_F t), sin(w_1 t), ..., sin(w_F t), x, c].
struct Flow : NetworkSizes {
  int64_t rows = 0;                              // N
  int64_t features = 0, context = 0, waves = 0;  // D, C, F
  std::vector<double> frequencies;               // w, [F]
  ActivationKind activation = ActivationKind::linear;
  double start = 0, end = 1, rtol = 0, atol = 0;
  int64_t steps = 0, max_steps = 0;  // equal steps, or 0 for as many as the tolerances ask for
  bool with_ladj = true;

  bool is_deep() const { return layers() == 3; }
  int64_t first_column() const { return 2 * waves; }  // of x
  int64_t last_hidden() const { return width[width.size() - 2]; }
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const OptionalTensor&, at::TensorList,
                                at::TensorList, at::ArrayRef<double>, std::string_view, double,
                                double, double, double, int64_t, int64_t, bool);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const OptionalTensor&, at::TensorList, at::TensorList,
                                 at::ArrayRef<double>, std::string_view, double, double, double,
                                 double, int64_t, int64_t, bool, std::array<bool, 3>);

struct Arguments {
  const at::Tensor& x;
  const OptionalTensor& context;
  at::TensorList weights, biases;
  at::ArrayRef<double> frequencies;
  std::string_view activation;
  double start, end, rtol, atol;
  int64_t steps, max_steps;
  bool with_ladj;
};
struct BackwardArguments {
  const at::Tensor &grad_y, &grad_ladj, &x;
  const OptionalTensor& context;
  at::TensorList weights, biases;
  at::ArrayRef<double> frequencies;
  std::string_view activation;
  double start, end, rtol, atol;
  int64_t steps, max_steps;
  bool with_ladj;
  std::array<bool, 3> output_mask;
};

namespace detail {

inline void check_field(const char* op, const Arguments& a, Flow* flow) {
  const int64_t layers = static_cast<int64_t>(a.weights.size());
  TORCH_CHECK_VALUE(layers == 2 || layers == 3, op,
                    ": weights: expected those of one or two hidden layers, got ", layers - 1,
                    " hidden layers; integrate other fields with ode.odeint");
  flow->width = {2 * flow->waves + flow->features + flow->context};
  for (int64_t l = 0; l < layers; ++l) {
    const Argument weight{op, "weights", l};
    check_given(weight, a.weights[l]);
    TORCH_CHECK_VALUE(a.weights[l].dim() == 2 && a.weights[l].size(0) > 0, weight,
                      ": expected a tensor [outputs, inputs], got ", a.weights[l].sizes(),
                      "; give it as torch.nn.Linear stores it");
    const int64_t in = flow->width.back(), out = a.weights[l].size(0);
    const char* const remedy =
        l == 0 ? "the inputs are cosines, sines, the columns of x and those of the context"
               : "a layer's inputs are the outputs of the one before";
    check_like(weight, a.weights[l], {out, in}, {"x", a.x}, remedy);
    check_like({op, "biases", l}, a.biases[l], {out}, {"x", a.x}, remedy);
    flow->width.push_back(out);
    flow->parameters += out * (in + 1);
  }
  TORCH_CHECK_VALUE(flow->width.back() == flow->features, Argument{op, "weights", layers - 1},
                    ": expected ", flow->features, " outputs as x has columns, got ",
                    flow->width.back(), "; the outputs are the rates of change of x");
}

inline void check_integration(const char* op, const Arguments& a, Flow* flow) {
  TORCH_CHECK_VALUE(std::isfinite(a.start) && std::isfinite(a.end) && a.start != a.end, op,
                    ": start, end: expected two finite times, got ", a.start, " and ", a.end,
                    "; such as 0 and 1");
  TORCH_CHECK_VALUE(a.rtol >= 0 && a.atol >= 0 && a.rtol + a.atol > 0, op,
                    ": rtol, atol: expected numbers >= 0, not both 0, got ", a.rtol, " and ",
                    a.atol, "; such as 1e-5 and 1e-6");
  TORCH_CHECK_VALUE(a.steps >= 0, op,
                    ": steps: expected a number of equal steps, or 0 for adaptive ones, got ",
                    a.steps, "; such as 20");
  TORCH_CHECK_VALUE(a.max_steps > 0, op, ": max_steps: expected a whole number above 0, got ",
                    a.max_steps, "; such as 1000");
  for (const double frequency : a.frequencies)
    TORCH_CHECK_VALUE(std::isfinite(frequency), op, ": frequencies: expected finite numbers, got ",
                      a.frequencies, "; such as multiples of pi");
  flow->start = a.start;
  flow->end = a.end;
  flow->rtol = a.rtol;
  flow->atol = a.atol;
  flow->steps = a.steps;
  flow->max_steps = a.max_steps;
}

inline Flow check_flow(const char* op, const Arguments& a) {
  check_dtype({op, "x"}, a.x, Precisions::full, "convert it with x.float()");
  check_layers(op, a.x, a.weights, a.biases, "[rows, features]");
  Flow flow;
  flow.rows = a.x.size(0);
  flow.features = a.x.size(1);
  flow.waves = static_cast<int64_t>(a.frequencies.size());
  flow.frequencies = a.frequencies.vec();
  TORCH_CHECK_VALUE(flow.features > 0, op,
                    ": x: expected shape [rows, features] with at least one column, got ",
                    a.x.sizes(), "; give it the features");
  if (a.context) {
    const at::Tensor& context = *a.context;
    TORCH_CHECK_VALUE(context.defined() && context.dim() == 2, op,
                      ": context: expected shape [rows, columns], got ",
                      context.defined() ? "another" : "None", "; a single row is context[None]");
    flow.context = context.size(1);
    check_like({op, "context"}, context, {flow.rows, flow.context}, {"x", a.x},
               "it must have a row for each of x; context.expand(len(x), -1) repeats one");
  }
  check_field(op, a, &flow);
  check_integration(op, a, &flow);
  flow.activation = check_activation({op, "activation"}, a.activation);
  flow.with_ladj = a.with_ladj;
  return flow;
}

}  // namespace detail

inline Flow check_continuous_flow(const Arguments& a) {
  return detail::check_flow("continuous_flow", a);
}

inline Flow check_continuous_flow_backward(const BackwardArguments& b) {
  const char* const op = "continuous_flow_backward";
  const Flow flow =
      detail::check_flow(op, {b.x, b.context, b.weights, b.biases, b.frequencies, b.activation,
                              b.start, b.end, b.rtol, b.atol, b.steps, b.max_steps, b.with_ladj});
  check_output_like(op, "grad_y", b.grad_y, b.x, flow.features);
  check_like({op, "grad_ladj"}, b.grad_ladj, {flow.with_ladj ? flow.rows : 0}, {"x", b.x},
             "it must fit x, ", b.x.sizes(), ", and with_ladj");
  return flow;
}

}  // namespace pyneural::continuous_flow
