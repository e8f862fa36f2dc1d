// What the dense ops ask of their arguments, the same on every device, before memory is touched.
#pragma once

#include <array>

#include "../common/checks.h"

namespace pyneural::dense {

// y = f(x W^T + b): x [rows, in] with the leading dimensions joined, W [out, in], b [out].
struct Layer {
  int64_t rows = 0, in = 0, out = 0;
  ActivationKind activation = ActivationKind::linear;
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                std::string_view);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const OptionalTensor&, const at::Tensor&, std::string_view,
                                 std::array<bool, 3>);

struct Arguments {
  const at::Tensor &x, &weight;
  const OptionalTensor& bias;
  std::string_view activation;
};
// saved: y where f' is a function of it, else z; not read where f is linear. The kernels do not
// read the bias either: the derivatives of this op need it.
struct BackwardArguments {
  const at::Tensor &grad_y, &x, &weight;
  const OptionalTensor& bias;
  const at::Tensor& saved;
  std::string_view activation;
  std::array<bool, 3> output_mask;
};

namespace detail {

inline Layer check_layer(const char* op, const at::Tensor& x, const at::Tensor& weight,
                         const OptionalTensor& bias, std::string_view activation) {
  check_dtype({op, "x"}, x, Precisions::with_reduced, "convert it with x.float()");
  TORCH_CHECK_VALUE(weight.dim() == 2, op, ": weight: expected shape [outputs, inputs], got ",
                    weight.sizes(), "; give it as torch.nn.Linear stores it");
  TORCH_CHECK_VALUE(x.dim() >= 1 && x.size(-1) == weight.size(1), op, ": x: expected [..., ",
                    weight.size(1), "] for a weight ", weight.sizes(), ", got ", x.sizes(),
                    "; the last dimension holds the layer's inputs");
  Layer layer;
  layer.in = weight.size(1);
  layer.out = weight.size(0);
  layer.rows = joined_rows(x);
  const auto check = [&](const char* name, const at::Tensor& tensor, at::IntArrayRef shape) {
    check_like({op, name}, tensor, shape, {"x", x}, "it must fit x, ", x.sizes(),
               ", and the weight");
  };
  check("weight", weight, {layer.out, layer.in});
  if (bias) check("bias", *bias, {layer.out});
  layer.activation = check_activation({op, "activation"}, activation);
  return layer;
}

}  // namespace detail

inline Layer check_dense(const Arguments& a) {
  return detail::check_layer("dense", a.x, a.weight, a.bias, a.activation);
}

inline Layer check_dense_backward(const BackwardArguments& b) {
  const char* const op = "dense_backward";
  const Layer layer = detail::check_layer(op, b.x, b.weight, b.bias, b.activation);
  check_output_like(op, "grad_y", b.grad_y, b.x, layer.out);
  if (layer.activation != ActivationKind::linear)
    check_output_like(op, "saved", b.saved, b.x, layer.out);
  return layer;
}

}  // namespace pyneural::dense
