// What the autoregressive ops ask of their arguments before memory is touched.
#pragma once

#include <array>

#include "../common/checks.h"
#include "../spline/spline_check.h"

namespace pyneural::autoregressive {

enum class TransformKind : int32_t { affine, spline };

// A masked network of x and a context gives the parameters of a monotonic transform of each
// feature: y_d = f(x_d; parameters that depend on features of lower order). In a coupling layer
// some features stay as they are: they and the context are all that the network sees.
struct FlowLayer : NetworkSizes {
  size_t first = 0;  // of its weights and biases among those of all layers
  int64_t rows = 0, features = 0, context = 0;
  int64_t staying = 0;                // features of a coupling layer that stay; else 0
  int64_t parameters_of_feature = 0;  // of its transform; the outputs of the network are its
  ActivationKind activation = ActivationKind::linear;
  TransformKind transform = TransformKind::affine;
  double bound = 0, slope = 0;
  bool inverse = false;

  int64_t transformed() const { return features - staying; }
  // Whether features are solved for in their order: in a coupling layer what counts is known.
  bool by_substitution() const { return inverse && staying == 0; }

  at::TensorList of(at::TensorList all) const { return all.slice(first, width.size() - 1); }
};

// Layers in the order in which x passes them; the inverse passes them from the last to the first.
struct Flow {
  std::vector<FlowLayer> layers;
  int64_t rows = 0, features = 0, context = 0;
  int64_t parameters = 0;  // of all layers, flat as in NetworkSizes
  bool inverse = false;

  int64_t size() const { return static_cast<int64_t>(layers.size()); }
  // The layer that is passed after `done` others.
  int64_t passed(int64_t done) const { return inverse ? size() - 1 - done : done; }
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const OptionalTensor&, at::TensorList,
                                at::TensorList, at::TensorList, std::string_view, std::string_view,
                                double, double, bool);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const OptionalTensor&, at::TensorList, at::TensorList,
                                 at::TensorList, const at::Tensor&, std::string_view,
                                 std::string_view, double, double, bool, std::array<bool, 3>);
template <class Result>
using LikelihoodSignature = Result(const at::Tensor&, const OptionalTensor&, at::TensorList,
                                   at::TensorList, at::TensorList, std::string_view,
                                   std::string_view, double, double);
// The result is the loss and its gradients for x, the context, all weights and all biases; without
// those of the parameters where they are not wanted.
template <class Result>
using GradientSignature = Result(const at::Tensor&, const OptionalTensor&, at::TensorList,
                                 at::TensorList, at::TensorList, std::string_view, std::string_view,
                                 double, double, std::array<bool, 3>);

struct Arguments {
  const at::Tensor& x;
  const OptionalTensor& context;
  at::TensorList weights, biases, degrees;
  std::string_view activation, transform;
  double bound, slope;
  bool inverse;
};
struct LikelihoodArguments {
  const at::Tensor& x;
  const OptionalTensor& context;
  at::TensorList weights, biases, degrees;
  std::string_view activation, transform;
  double bound, slope;
  std::array<bool, 3> output_mask{};
};
// saved: what autoregressive_with_saved returned with these arguments.
struct BackwardArguments {
  const at::Tensor &grad_y, &grad_ladj, &x;
  const OptionalTensor& context;
  at::TensorList weights, biases, degrees;
  const at::Tensor& saved;
  std::string_view activation, transform;
  double bound, slope;
  bool inverse;
  std::array<bool, 3> output_mask;
};

namespace detail {

inline void check_network(const char* op, const Arguments& a, size_t depth, FlowLayer* layer) {
  const at::TensorList weights = a.weights.slice(layer->first, depth),
                       biases = a.biases.slice(layer->first, depth);
  if (weights[0].defined() && weights[0].dim() == 2) {
    const int64_t seen = weights[0].size(1) - layer->context;
    if (0 < seen && seen < layer->features) layer->staying = seen;
  }
  layer->width = {(layer->staying > 0 ? layer->staying : layer->features) + layer->context};
  for (size_t l = 0; l < depth; ++l) {
    const auto index = static_cast<int64_t>(layer->first + l);
    TORCH_CHECK_VALUE(weights[l].defined() && weights[l].dim() == 2, Argument{op, "weights", index},
                      ": expected a tensor [outputs, inputs], got ",
                      weights[l].defined() ? "another shape" : "None",
                      "; give it as torch.nn.Linear stores it");
    const int64_t in = layer->width.back(), out = weights[l].size(0);
    const char* const remedy = l == 0 ? "the inputs are the columns of x and of the context"
                                      : "a layer's inputs are the outputs of the one before";
    check_like({op, "weights", index}, weights[l], {out, in}, {"x", a.x}, remedy);
    check_like({op, "biases", index}, biases[l], {out}, {"x", a.x}, remedy);
    layer->width.push_back(out);
    layer->parameters += out * (in + 1);
  }
}

inline void check_transform(const char* op, const Arguments& a, FlowLayer* layer) {
  TORCH_CHECK_VALUE(a.transform == "affine" || a.transform == "spline", op,
                    ": transform: expected affine or spline, got \"", a.transform,
                    "\"; choose one of these");
  const int64_t outputs = layer->width.back(), features = layer->transformed(),
                each = outputs / features;
  const char* const which = layer->staying > 0 ? " that does not stay" : "";
  const bool is_affine = a.transform == "affine";
  const auto index = static_cast<int64_t>(layer->first) + layer->layers() - 1;
  const Argument last{op, "weights", index};
  if (is_affine) {
    TORCH_CHECK_VALUE(outputs == 2 * features, last, ": expected ", 2 * features,
                      " outputs, shift and scale of each column of x", which, ", got ", outputs,
                      "; give the last layer as many");
  } else {
    TORCH_CHECK_VALUE(outputs % features == 0 && each % 3 == 2, last, ": expected a multiple of ",
                      features, " outputs, 3 bins - 1 for each column of x", which, ", got ",
                      outputs, "; give the last layer as many");
  }
  layer->transform = is_affine ? TransformKind::affine : TransformKind::spline;
  layer->parameters_of_feature = each;
  spline::check_bound_and_slope(op, a.bound, a.slope);
  layer->bound = a.bound;
  layer->slope = a.slope;
}

inline void check_degrees(const char* op, const Arguments& a, size_t which,
                          const FlowLayer& layer) {
  int64_t units = layer.features;
  for (int64_t l = 1; l < layer.layers(); ++l) units += layer.width[l];
  const Argument argument{op, "degrees", static_cast<int64_t>(which)};
  check_given(argument, a.degrees[which]);
  const at::Tensor& degrees = a.degrees[which];
  TORCH_CHECK_VALUE(degrees.scalar_type() == at::kLong && degrees.dim() == 1 &&
                        degrees.size(0) == units && degrees.device() == a.x.device(),
                    argument, ": expected ", units,
                    " of int64, one for each column of x and each hidden unit, on ", a.x.device(),
                    ", got ", degrees.sizes(), " of ", degrees.scalar_type(), " on ",
                    degrees.device(),
                    "; ops.autoregressive_degrees or ops.coupling_degrees makes them");
  if (layer.staying == 0 || !degrees.is_cpu()) return;
  const auto each = degrees.accessor<int64_t, 1>();
  int64_t staying = 0;
  for (int64_t d = 0; d < layer.features; ++d) staying += each[d] < 0;
  TORCH_CHECK_VALUE(staying == layer.staying,
                    Argument{op, "weights", static_cast<int64_t>(layer.first)}, ": expected ",
                    layer.features + layer.context, " columns, those of x and of the context, or ",
                    staying + layer.context, " of the features of order -1 and the context, got ",
                    a.weights[layer.first].size(1), "; see ops.coupling_degrees");
}

inline Flow check_flow(const char* op, const Arguments& a) {
  check_dtype({op, "x"}, a.x, Precisions::full, "convert it with x.float()");
  check_layers(op, a.x, a.weights, a.biases, "[rows, features]");
  Flow flow;
  flow.inverse = a.inverse;
  flow.rows = a.x.size(0);
  flow.features = a.x.size(1);
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
  const size_t count = a.degrees.size();
  TORCH_CHECK_VALUE(count > 0 && a.weights.size() % count == 0, op,
                    ": degrees: expected a tensor for each layer of the flow, got ", count,
                    " with ", a.weights.size(),
                    " weights; all networks have the same number of weights");
  const size_t depth = a.weights.size() / count;
  const ActivationKind activation = check_activation({op, "activation"}, a.activation);
  for (size_t which = 0; which < count; ++which) {
    FlowLayer layer;
    layer.first = which * depth;
    layer.rows = flow.rows;
    layer.features = flow.features;
    layer.context = flow.context;
    layer.activation = activation;
    layer.inverse = a.inverse;
    check_network(op, a, depth, &layer);
    check_degrees(op, a, which, layer);
    check_transform(op, a, &layer);
    flow.parameters += layer.parameters;
    flow.layers.push_back(std::move(layer));
  }
  return flow;
}

}  // namespace detail

inline Flow check_autoregressive(const Arguments& a) {
  return detail::check_flow("autoregressive", a);
}

inline Flow check_autoregressive_nll(const LikelihoodArguments& a) {
  const char* const op = "autoregressive_nll";
  Flow flow = detail::check_flow(op, {a.x, a.context, a.weights, a.biases, a.degrees, a.activation,
                                      a.transform, a.bound, a.slope, false});
  TORCH_CHECK_VALUE(flow.rows > 0, op, ": x: expected at least one row, got ", a.x.sizes(),
                    "; the mean of none is not defined");
  return flow;
}

inline Flow check_autoregressive_backward(const BackwardArguments& b) {
  const char* const op = "autoregressive_backward";
  Flow flow = detail::check_flow(op, {b.x, b.context, b.weights, b.biases, b.degrees, b.activation,
                                      b.transform, b.bound, b.slope, b.inverse});
  check_output_like(op, "grad_y", b.grad_y, b.x, flow.features);
  check_like({op, "grad_ladj"}, b.grad_ladj, {flow.rows}, {"x", b.x}, "it must fit x, ",
             b.x.sizes());
  check_given({op, "saved"}, b.saved);
  check_like({op, "saved"}, b.saved, {b.saved.numel()}, {"x", b.x},
             "give what autoregressive_with_saved returned");
  return flow;
}

}  // namespace pyneural::autoregressive
