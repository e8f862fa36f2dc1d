// What the mse_loss ops ask of their arguments before memory is touched.
#pragma once

#include "../common/checks.h"

namespace pyneural::mse_loss {

namespace detail {

inline void check(const char* op, const at::Tensor& prediction, const at::Tensor& target) {
  check_dtype({op, "prediction"}, prediction, Precisions::full,
              "torch.nn.functional.mse_loss takes others");
  check_like({op, "target"}, target, prediction.sizes(), {"prediction", prediction},
             "give both one shape");
}

}  // namespace detail

inline void check_mse_loss(const at::Tensor& prediction, const at::Tensor& target) {
  detail::check("mse_loss", prediction, target);
}

inline void check_mse_loss_backward(const at::Tensor& grad_loss, const at::Tensor& prediction,
                                    const at::Tensor& target) {
  const char* const op = "mse_loss_backward";
  detail::check(op, prediction, target);
  check_like({op, "grad_loss"}, grad_loss, {}, {"prediction", prediction},
             "it is the gradient of a mean");
}

}  // namespace pyneural::mse_loss
