// What the mlp ops ask of their arguments, the same on every device, before memory is touched.
#pragma once

#include <array>

#include "../common/checks.h"

namespace pyneural::mlp {

constexpr const char* kInputLetters = "[rows, inputs]";

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

inline Network check_network(const char* op, const at::Tensor& x, at::TensorList weights,
                             at::TensorList biases, std::string_view activation,
                             std::string_view final_activation) {
  Network network;
  network.width = pyneural::check_network(op, x, weights, biases, kInputLetters);
  network.rows = x.size(0);
  for (int64_t l = 0; l < network.layers(); ++l)
    network.parameters += network.width[l + 1] * (network.width[l] + 1);
  network.hidden = check_activation({op, "activation"}, activation);
  network.final = check_activation({op, "final_activation"}, final_activation);
  return network;
}

}  // namespace detail

inline Network check_mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                         std::string_view activation, std::string_view final_activation) {
  return detail::check_network("mlp", x, weights, biases, activation, final_activation);
}

inline Network check_mlp_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                  at::TensorList weights, at::TensorList biases,
                                  std::string_view activation, std::string_view final_activation,
                                  std::array<bool, 2>) {
  const char* const op = "mlp_backward";
  Network network = detail::check_network(op, x, weights, biases, activation, final_activation);
  check_output_like(op, "grad_y", grad_y, x, network.width.back());
  return network;
}

}  // namespace pyneural::mlp
