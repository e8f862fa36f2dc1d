// The ops around the kernels of a device: checks and schemas.
#pragma once

#include <torch/library.h>

#include <tuple>
#include <vector>

#include "rnn_check.h"

namespace pyneural::rnn {

// y [T, N, H], h_n and c_n [N, H], saved [T, N, K, H]; c_n and saved are empty where there is none.
using ForwardResult = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// The tensors of a backward beside those of the forward.
struct BackwardArguments {
  const at::Tensor &grad_y, &grad_h_n;
  const std::optional<at::Tensor>& grad_c_n;  // None for a cell without c
  const at::Tensor &y, &saved;
};

// Kernels has
//   forward(layer, arguments, with_saved) -> ForwardResult
//   backward(layer, arguments, backward_arguments, wanted) -> gradients of x, h0, c0, weight_ih,
//       weight_hh, bias_ih and bias_hh, empty where not wanted
template <class Kernels>
struct Ops {
  using OptionalTensor = std::optional<at::Tensor>;

  static std::tuple<at::Tensor, at::Tensor, at::Tensor> rnn(
      const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
      const at::Tensor& weight_ih, const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
      const OptionalTensor& bias_hh, const OptionalTensor& lengths, std::string_view cell,
      bool reverse) {
    const Arguments a{x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths};
    const auto [y, h_n, c_n, saved] = Kernels::forward(check_rnn(a, cell, reverse), a, false);
    return {y, h_n, c_n};
  }

  static ForwardResult rnn_with_saved(const at::Tensor& x, const at::Tensor& h0,
                                      const OptionalTensor& c0, const at::Tensor& weight_ih,
                                      const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
                                      const OptionalTensor& bias_hh, const OptionalTensor& lengths,
                                      std::string_view cell, bool reverse) {
    const Arguments a{x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths};
    return Kernels::forward(check_rnn(a, cell, reverse), a, true);
  }

  static std::vector<at::Tensor> rnn_backward(
      const at::Tensor& grad_y, const at::Tensor& grad_h_n, const OptionalTensor& grad_c_n,
      const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
      const at::Tensor& weight_ih, const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
      const OptionalTensor& bias_hh, const OptionalTensor& lengths, const at::Tensor& y,
      const at::Tensor& saved, std::string_view cell, bool reverse, std::array<bool, 7> wanted) {
    const Arguments a{x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths};
    const Layer layer = check_rnn_backward(grad_y, grad_h_n, grad_c_n, a, y, saved, cell, reverse);
    wanted[2] = wanted[2] && c0;
    return Kernels::backward(layer, a, {grad_y, grad_h_n, grad_c_n, y, saved}, wanted);
  }

  static void add_to(torch::Library& library) {
    library.impl("rnn", rnn);
    library.impl("rnn_with_saved", rnn_with_saved);
    library.impl("rnn_backward", rnn_backward);
  }
};

}  // namespace pyneural::rnn
