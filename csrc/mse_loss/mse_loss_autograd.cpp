// The mean squared error under autograd.
#include <torch/library.h>

#include "../common/autograd.h"
#include "mse_loss_check.h"

namespace pyneural::mse_loss {
namespace {

using ForwardSignature = at::Tensor(const at::Tensor&, const at::Tensor&);
using BackwardSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&);

at::Tensor call_mse_loss(const at::Tensor& prediction, const at::Tensor& target) {
  static const auto op = find_op<ForwardSignature>("pyneural::mse_loss");
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(prediction, target);
}

struct MseLoss : torch::autograd::Function<MseLoss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& prediction,
                            const at::Tensor& target) {
    ctx->save_for_backward({prediction, target});
    return call_mse_loss(prediction, target);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    static const auto op = find_op<BackwardSignature>("pyneural::mse_loss_backward");
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor grad = call_backward(op, grads[0], saved[0], saved[1]);
    return {ctx->needs_input_grad(0) ? grad : at::Tensor(),
            ctx->needs_input_grad(1) ? grad.neg() : at::Tensor()};
  }
};

at::Tensor mse_loss_autograd(const at::Tensor& prediction, const at::Tensor& target) {
  return needs_graph(prediction, target) ? MseLoss::apply(prediction, target)
                                         : call_mse_loss(prediction, target);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_mse_loss", check_mse_loss);
  m.def("check_mse_loss_backward", check_mse_loss_backward);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("mse_loss", mse_loss_autograd); }

}  // namespace pyneural::mse_loss
