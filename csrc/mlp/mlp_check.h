// What the mlp ops ask of their arguments, the same on every device, before memory is touched.
#pragma once

#include <array>

#include "../common/checks.h"

namespace pyneural::mlp {

constexpr const char* kInputLetters = "[rows, inputs]";

// a_0 = x, a_(l+1) = f(W_l a_l + b_l) with the final activation at the last layer.
struct Network : NetworkSizes {
  int64_t rows = 0;  // N
  ActivationKind hidden = ActivationKind::linear, final = ActivationKind::linear;

  ActivationKind activation(int64_t l) const { return l + 1 < layers() ? hidden : final; }
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, at::TensorList, at::TensorList, std::string_view,
                                std::string_view);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, at::TensorList,
                                 at::TensorList, std::string_view, std::string_view,
                                 std::array<bool, 2>);

struct Arguments {
  const at::Tensor& x;
  at::TensorList weights, biases;
  std::string_view activation, final_activation;
};
struct BackwardArguments {
  const at::Tensor& grad_y;
  Arguments forward;
  std::array<bool, 2> output_mask;
};

namespace detail {

inline Network check_network(const char* op, const Arguments& a) {
  Network network{pyneural::check_network(op, a.x, a.weights, a.biases, kInputLetters)};
  network.rows = a.x.size(0);
  network.hidden = check_activation({op, "activation"}, a.activation);
  network.final = check_activation({op, "final_activation"}, a.final_activation);
  return network;
}

}  // namespace detail

inline Network check_mlp(const Arguments& a) { return detail::check_network("mlp", a); }

inline Network check_mlp_backward(const BackwardArguments& b) {
  const char* const op = "mlp_backward";
  Network network = detail::check_network(op, b.forward);
  check_output_like(op, "grad_y", b.grad_y, b.forward.x, network.width.back());
  return network;
}

}  // namespace pyneural::mlp
