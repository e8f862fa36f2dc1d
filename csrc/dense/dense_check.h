// What the dense ops ask of their arguments, the same on every device, before memory is touched.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

#include "../common/activation.h"

namespace pyneural::dense {

// y = f(x W^T + b): x [rows, in] with the leading dimensions joined, W [out, in], b [out].
struct Layer {
  int64_t rows = 0, in = 0, out = 0;
  ActivationKind activation = ActivationKind::linear;
};

namespace detail {

inline bool is_dense_type(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf;
}

inline void check_like(const char* op, const char* argument, const at::Tensor& tensor,
                       at::IntArrayRef shape, const at::Tensor& x) {
  TORCH_CHECK_VALUE(tensor.sizes() == shape, op, ": ", argument, ": expected shape ", shape,
                    ", got ", tensor.sizes(), "; it must fit x, ", x.sizes(), ", and the weight");
  TORCH_CHECK_VALUE(tensor.scalar_type() == x.scalar_type(), op, ": ", argument, ": expected ",
                    x.scalar_type(), " like x, got ", tensor.scalar_type(),
                    "; convert the layer or x with .to(dtype)");
  TORCH_CHECK_VALUE(tensor.device() == x.device(), op, ": ", argument, ": expected ", x.device(),
                    " like x, got ", tensor.device(), "; move it with .to(device)");
}

}  // namespace detail

inline Layer check_dense(const char* op, const at::Tensor& x, const at::Tensor& weight,
                         const std::optional<at::Tensor>& bias, std::string_view activation) {
  TORCH_CHECK_VALUE(detail::is_dense_type(x.scalar_type()), op,
                    ": x: expected float32, float64, bfloat16 or float16, got ", x.scalar_type(),
                    "; convert it with x.float()");
  TORCH_CHECK_VALUE(weight.dim() == 2, op, ": weight: expected shape [outputs, inputs], got ",
                    weight.sizes(), "; give it as torch.nn.Linear stores it");
  TORCH_CHECK_VALUE(x.dim() >= 1 && x.size(-1) == weight.size(1), op, ": x: expected [..., ",
                    weight.size(1), "] for a weight ", weight.sizes(), ", got ", x.sizes(),
                    "; the last dimension holds the layer's inputs");
  Layer layer;
  layer.in = weight.size(1);
  layer.out = weight.size(0);
  layer.rows = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) layer.rows *= x.size(d);
  detail::check_like(op, "weight", weight, {layer.out, layer.in}, x);
  if (bias) detail::check_like(op, "bias", *bias, {layer.out}, x);
  const bool known = find_activation(activation, &layer.activation);
  TORCH_CHECK_VALUE(known, op, ": activation: expected one of ", kActivationList, ", got \"",
                    activation, "\"; choose one of these");
  return layer;
}

// saved: y where f' is a function of it, else z; not read where f is linear.
inline Layer check_dense_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                  const at::Tensor& weight, const at::Tensor& saved,
                                  std::string_view activation) {
  const char* const op = "dense_backward";
  const Layer layer = check_dense(op, x, weight, std::nullopt, activation);
  at::DimVector shape(x.sizes());
  shape.back() = layer.out;
  detail::check_like(op, "grad_y", grad_y, shape, x);
  if (layer.activation != ActivationKind::linear) detail::check_like(op, "saved", saved, shape, x);
  return layer;
}

inline at::DimVector output_shape(const at::Tensor& x, const Layer& layer) {
  at::DimVector shape(x.sizes());
  shape.back() = layer.out;
  return shape;
}

}  // namespace pyneural::dense
