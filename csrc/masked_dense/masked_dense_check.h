// What the masked_dense ops ask of their arguments before memory is touched.
#pragma once

#include "../common/checks.h"

namespace pyneural::masked_dense {

// y_o = f(sum over o's edges e of values[e] x[inputs[e]] + b_o); the edges of output o are
// starts[o] .. starts[o + 1].
struct Layer {
  int64_t rows = 0, in = 0, out = 0, edges = 0;
  ActivationKind activation = ActivationKind::linear;
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const at::Tensor&, const OptionalTensor&, std::string_view);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                 const at::Tensor&, std::string_view, bool);

struct Arguments {
  const at::Tensor &x, &values, &starts, &inputs;
  const OptionalTensor& bias;
  std::string_view activation;
};
// saved: y where f' is a function of it, else z; not read where f is linear. The kernels do not
// read the bias either: the derivatives of this op need it.
struct BackwardArguments {
  const at::Tensor &grad_y, &x, &values, &starts, &inputs;
  const OptionalTensor& bias;
  const at::Tensor& saved;
  std::string_view activation;
  bool with_grad_x;
};

namespace detail {

inline void check_indices(const Argument& argument, const at::Tensor& indices,
                          const at::Tensor& x) {
  check_given(argument, indices);
  TORCH_CHECK_VALUE(indices.scalar_type() == at::kLong && indices.dim() == 1 &&
                        indices.is_contiguous() && indices.device() == x.device(),
                    argument, ": expected a contiguous 1-d int64 tensor on ", x.device(), ", got ",
                    indices.scalar_type(), " ", indices.sizes(), " on ", indices.device(),
                    "; SparsityPattern makes them");
}

// That no index points out of its range, on the CPU, where they can be read.
inline void check_edges(const char* op, const Layer& layer, const at::Tensor& starts,
                        const at::Tensor& inputs) {
  const auto* const start = starts.const_data_ptr<int64_t>();
  const auto* const input = inputs.const_data_ptr<int64_t>();
  bool ordered = start[0] == 0 && start[layer.out] == layer.edges;
  for (int64_t o = 0; o < layer.out; ++o) ordered &= start[o] <= start[o + 1];
  TORCH_CHECK_VALUE(ordered, op, ": starts: expected indices that rise from 0 to ", layer.edges,
                    ", the number of edges, got others; SparsityPattern makes them");
  bool inside = true;
  for (int64_t e = 0; e < layer.edges; ++e) inside &= 0 <= input[e] && input[e] < layer.in;
  TORCH_CHECK_VALUE(inside, op, ": inputs: expected column indices of x, 0 to ", layer.in - 1,
                    ", got others; x must have as many columns as the mask");
  bool rising = true;
  for (int64_t o = 0; o < layer.out; ++o)
    for (int64_t e = start[o] + 1; e < start[o + 1]; ++e) rising &= input[e - 1] < input[e];
  TORCH_CHECK_VALUE(rising, op, ": inputs: expected indices that rise within each output, got ",
                    "others, perhaps an edge twice; SparsityPattern makes them");
}

inline Layer check_layer(const char* op, const Arguments& a) {
  const auto& [x, values, starts, inputs, bias, activation] = a;
  check_dtype({op, "x"}, x, Precisions::full, "convert it with x.float()");
  TORCH_CHECK_VALUE(x.dim() >= 1, op, ": x: expected [..., inputs], got a scalar; give it a shape");
  check_indices({op, "starts"}, starts, x);
  check_indices({op, "inputs"}, inputs, x);
  TORCH_CHECK_VALUE(starts.size(0) >= 1, op,
                    ": starts: expected outputs + 1 indices, got none; SparsityPattern makes them");
  Layer layer;
  layer.in = x.size(-1);
  layer.out = starts.size(0) - 1;
  layer.edges = inputs.size(0);
  layer.rows = joined_rows(x);
  const auto check = [&](const char* name, const at::Tensor& tensor, at::IntArrayRef shape) {
    check_like({op, name}, tensor, shape, {"x", a.x}, "it must fit x, ", a.x.sizes(),
               ", and the sparsity pattern");
  };
  check("values", values, {layer.edges});
  if (bias) check("bias", *bias, {layer.out});
  layer.activation = check_activation({op, "activation"}, activation);
  if (x.is_cpu()) check_edges(op, layer, starts, inputs);
  return layer;
}

}  // namespace detail

inline Layer check_masked_dense(const Arguments& a) {
  return detail::check_layer("masked_dense", a);
}

inline Layer check_masked_dense_backward(const BackwardArguments& b) {
  const char* const op = "masked_dense_backward";
  const Layer layer =
      detail::check_layer(op, {b.x, b.values, b.starts, b.inputs, b.bias, b.activation});
  check_output_like(op, "grad_y", b.grad_y, b.x, layer.out);
  if (layer.activation != ActivationKind::linear)
    check_output_like(op, "saved", b.saved, b.x, layer.out);
  return layer;
}

}  // namespace pyneural::masked_dense
