// The dense op for other ops: through the dispatcher, so on any device.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

#include "../common/find_op.h"

namespace pyneural::dense {

inline at::Tensor call_dense(const at::Tensor& x, const at::Tensor& weight,
                             const std::optional<at::Tensor>& bias, std::string_view activation) {
  static const auto op = find_op<decltype(call_dense)>("pyneural::dense");
  return op.call(x, weight, bias, activation);
}

}  // namespace pyneural::dense
