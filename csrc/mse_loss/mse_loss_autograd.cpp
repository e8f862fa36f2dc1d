// The mean squared error under autograd. Its first backward is a kernel; a graph of that, for
// second derivatives, is made of torch's own functions.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../common/find_op.h"

namespace pyneural::mse_loss {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor call_mse_loss(const at::Tensor& prediction, const at::Tensor& target) {
  static const auto op = find_op<decltype(call_mse_loss)>("pyneural::mse_loss");
  return op.call(prediction, target);
}

at::Tensor call_mse_loss_backward(const at::Tensor& grad_loss, const at::Tensor& prediction,
                                  const at::Tensor& target) {
  static const auto op = find_op<decltype(call_mse_loss_backward)>("pyneural::mse_loss_backward");
  return op.call(grad_loss, prediction, target);
}

struct MseLoss : torch::autograd::Function<MseLoss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& prediction,
                            const at::Tensor& target) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({prediction, target});
    return call_mse_loss(prediction, target);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &prediction = saved[0], &target = saved[1];
    const auto gradient = [&] {
      if (at::GradMode::is_enabled())
        return (prediction - target) * (grads[0] * (2.0 / static_cast<double>(target.numel())));
      const at::AutoDispatchBelowADInplaceOrView below;
      return call_mse_loss_backward(grads[0], prediction, target);
    };
    const at::Tensor grad = gradient();
    return {ctx->needs_input_grad(0) ? grad : at::Tensor(),
            ctx->needs_input_grad(1) ? grad.neg() : at::Tensor()};
  }
};

at::Tensor mse_loss_autograd(const at::Tensor& prediction, const at::Tensor& target) {
  if (at::GradMode::is_enabled() && (prediction.requires_grad() || target.requires_grad()))
    return MseLoss::apply(prediction, target);
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_mse_loss(prediction, target);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("mse_loss", mse_loss_autograd); }

}  // namespace pyneural::mse_loss
