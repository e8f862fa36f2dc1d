// The dense ops for other ops: through the dispatcher, so on any device.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

#include "../common/find_op.h"

namespace pyneural::dense {

inline at::Tensor call_dense(const at::Tensor& x, const at::Tensor& weight,
                             const std::optional<at::Tensor>& bias, std::string_view activation) {
  static const auto op = find_op<decltype(call_dense)>("pyneural::dense");
  return op.call(x, weight, bias, activation);
}

inline std::tuple<at::Tensor, at::Tensor> call_dense_with_preactivation(
    const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    std::string_view activation) {
  static const auto op =
      find_op<decltype(call_dense_with_preactivation)>("pyneural::dense_with_preactivation");
  return op.call(x, weight, bias, activation);
}

inline std::tuple<at::Tensor, at::Tensor, at::Tensor> call_dense_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& weight,
    const at::Tensor& saved, std::string_view activation, std::array<bool, 3> output_mask) {
  static const auto op = find_op<decltype(call_dense_backward)>("pyneural::dense_backward");
  return op.call(grad_y, x, weight, saved, activation, output_mask);
}

}  // namespace pyneural::dense
