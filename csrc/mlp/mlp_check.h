// What the mlp ops ask of their arguments, the same on every device, before memory is touched.
#pragma once

#include <ATen/core/Tensor.h>

#include <string_view>
#include <vector>

#include "../common/activation.h"

namespace pyneural::mlp {

// a_0 = x, a_(l+1) = f(W_l a_l + b_l) with the final activation at the last layer.
struct Network {
  int64_t rows = 0;            // N
  std::vector<int64_t> width;  // [L + 1]
  int64_t parameters = 0;      // P, flat in the order weights[0], biases[0], weights[1], ...
  ActivationKind hidden = ActivationKind::linear, final = ActivationKind::linear;

  int64_t layers() const { return static_cast<int64_t>(width.size()) - 1; }
  ActivationKind activation(int64_t l) const { return l + 1 < layers() ? hidden : final; }
};

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

inline ActivationKind checked_activation(const char* op, const char* argument,
                                         std::string_view name) {
  ActivationKind kind = ActivationKind::linear;
  TORCH_CHECK_VALUE(find_activation(name, &kind), op, ": ", argument, ": expected one of ",
                    kActivationList, ", got \"", name, "\"; choose one of these");
  return kind;
}

}  // namespace detail

// What can be said of x and the number of tensors before their sizes are known.
inline void check_layers(const char* op, const at::Tensor& x, at::TensorList weights,
                         at::TensorList biases) {
  TORCH_CHECK_VALUE(x.dim() == 2, op, ": x: expected shape [rows, inputs], got ", x.sym_sizes(),
                    "; a single row is x[None]");
  TORCH_CHECK_VALUE(!weights.empty(), op,
                    ": weights: expected at least one layer, got none; give [weight] with its "
                    "[bias]");
  TORCH_CHECK_VALUE(weights.size() == biases.size(), op, ": biases: expected ", weights.size(),
                    " as there are weights, got ", biases.size(), "; give every layer a bias");
}

inline Network check_mlp(const char* op, const at::Tensor& x, at::TensorList weights,
                         at::TensorList biases, std::string_view activation,
                         std::string_view final_activation) {
  TORCH_CHECK_VALUE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble, op,
                    ": x: expected float32 or float64, got ", x.scalar_type(),
                    "; convert it with x.float()");
  check_layers(op, x, weights, biases);
  Network network;
  network.rows = x.size(0);
  network.width.push_back(x.size(1));
  for (size_t l = 0; l < weights.size(); ++l) {
    const auto index = static_cast<int64_t>(l);
    TORCH_CHECK_VALUE(weights[l].dim() == 2, op, ": weights[", l,
                      "]: expected shape [outputs, inputs], got ", weights[l].sizes(),
                      "; give it as torch.nn.Linear stores it");
    const int64_t out = weights[l].size(0);
    detail::check_like(op, "weights", index, weights[l], {out, network.width.back()}, x);
    detail::check_like(op, "biases", index, biases[l], {out}, x);
    network.parameters += out * (network.width.back() + 1);
    network.width.push_back(out);
  }
  network.hidden = detail::checked_activation(op, "activation", activation);
  network.final = detail::checked_activation(op, "final_activation", final_activation);
  return network;
}

inline Network check_mlp_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                  at::TensorList weights, at::TensorList biases,
                                  std::string_view activation, std::string_view final_activation) {
  const char* const op = "mlp_backward";
  Network network = check_mlp(op, x, weights, biases, activation, final_activation);
  const int64_t shape[] = {network.rows, network.width.back()};
  TORCH_CHECK_VALUE(grad_y.sizes() == at::IntArrayRef(shape) &&
                        grad_y.scalar_type() == x.scalar_type() && grad_y.device() == x.device(),
                    op, ": grad_y: expected ", x.scalar_type(), " ", at::IntArrayRef(shape), " on ",
                    x.device(), ", got ", grad_y.scalar_type(), " ", grad_y.sizes(), " on ",
                    grad_y.device(), "; give it the shape of mlp's result");
  return network;
}

}  // namespace pyneural::mlp
