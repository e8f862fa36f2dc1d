// What the masked_dense ops ask of their arguments before memory is touched.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

#include "../common/activation.h"

namespace pyneural::masked_dense {

// y_o = f(sum over o's edges e of values[e] x[inputs[e]] + b_o); the edges of output o are
// starts[o] .. starts[o + 1].
struct Layer {
  int64_t rows = 0, in = 0, out = 0, edges = 0;
  ActivationKind activation = ActivationKind::linear;
};

namespace detail {

inline void check_like(const char* op, const char* argument, const at::Tensor& tensor,
                       at::IntArrayRef shape, const at::Tensor& x) {
  TORCH_CHECK_VALUE(tensor.sizes() == shape, op, ": ", argument, ": expected shape ", shape,
                    ", got ", tensor.sizes(), "; it must fit x, ", x.sizes(),
                    ", and the sparsity pattern");
  TORCH_CHECK_VALUE(tensor.scalar_type() == x.scalar_type(), op, ": ", argument, ": expected ",
                    x.scalar_type(), " like x, got ", tensor.scalar_type(),
                    "; convert the layer or x with .to(dtype)");
  TORCH_CHECK_VALUE(tensor.device() == x.device(), op, ": ", argument, ": expected ", x.device(),
                    " like x, got ", tensor.device(), "; move it with .to(device)");
}

inline void check_indices(const char* op, const char* argument, const at::Tensor& indices,
                          const at::Tensor& x) {
  TORCH_CHECK_VALUE(indices.scalar_type() == at::kLong && indices.dim() == 1 &&
                        indices.is_contiguous() && indices.device() == x.device(),
                    op, ": ", argument, ": expected a contiguous 1-d int64 tensor on ", x.device(),
                    ", got ", indices.scalar_type(), " ", indices.sizes(), " on ", indices.device(),
                    "; SparsityPattern makes them");
}

}  // namespace detail

// Without a look at the indices themselves, which may lie on a device.
inline Layer check_masked_dense(const char* op, const at::Tensor& x, const at::Tensor& values,
                                const at::Tensor& starts, const at::Tensor& inputs,
                                const std::optional<at::Tensor>& bias,
                                std::string_view activation) {
  TORCH_CHECK_VALUE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, op,
                    ": x: expected float32 or float64, got ", x.scalar_type(),
                    "; convert it with x.float()");
  TORCH_CHECK_VALUE(x.dim() >= 1, op, ": x: expected [..., inputs], got a scalar; give it a shape");
  detail::check_indices(op, "starts", starts, x);
  detail::check_indices(op, "inputs", inputs, x);
  TORCH_CHECK_VALUE(starts.size(0) >= 1, op,
                    ": starts: expected outputs + 1 indices, got none; SparsityPattern makes them");
  Layer layer;
  layer.in = x.size(-1);
  layer.out = starts.size(0) - 1;
  layer.edges = inputs.size(0);
  layer.rows = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) layer.rows *= x.size(d);
  detail::check_like(op, "values", values, {layer.edges}, x);
  if (bias) detail::check_like(op, "bias", *bias, {layer.out}, x);
  const bool known = find_activation(activation, &layer.activation);
  TORCH_CHECK_VALUE(known, op, ": activation: expected one of ", kActivationList, ", got \"",
                    activation, "\"; choose one of these");
  return layer;
}

// saved: y where f' is a function of it, else z; not read where f is linear.
inline Layer check_masked_dense_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                         const at::Tensor& values, const at::Tensor& starts,
                                         const at::Tensor& inputs, const at::Tensor& saved,
                                         std::string_view activation) {
  const char* const op = "masked_dense_backward";
  const Layer layer = check_masked_dense(op, x, values, starts, inputs, std::nullopt, activation);
  at::DimVector shape(x.sizes());
  shape.back() = layer.out;
  detail::check_like(op, "grad_y", grad_y, shape, x);
  if (layer.activation != ActivationKind::linear) detail::check_like(op, "saved", saved, shape, x);
  return layer;
}

// On the CPU, where the indices can be read: that none points out of its range.
inline void check_edges(const char* op, const Layer& layer, const at::Tensor& starts,
                        const at::Tensor& inputs) {
  const int64_t *const start = starts.const_data_ptr<int64_t>(), *const input =
                                                                     inputs
                                                                         .const_data_ptr<int64_t>();
  bool ordered = start[0] == 0 && start[layer.out] == layer.edges;
  for (int64_t o = 0; o < layer.out; ++o) ordered &= start[o] <= start[o + 1];
  TORCH_CHECK_VALUE(ordered, op, ": starts: expected indices that rise from 0 to ", layer.edges,
                    ", the number of edges, got others; SparsityPattern makes them");
  bool inside = true;
  for (int64_t e = 0; e < layer.edges; ++e) inside &= 0 <= input[e] && input[e] < layer.in;
  TORCH_CHECK_VALUE(inside, op, ": inputs: expected column indices of x, 0 to ", layer.in - 1,
                    ", got others; x must have as many columns as the mask");
}

}  // namespace pyneural::masked_dense
