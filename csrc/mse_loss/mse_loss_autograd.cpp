// The mean squared error under autograd.
#include <torch/library.h>

#include "../common/autograd.h"
#include "mse_loss_check.h"

namespace pyneural::mse_loss {
namespace {

constexpr Op<"pyneural::mse_loss", at::Tensor(const at::Tensor&, const at::Tensor&)> call_mse_loss;
constexpr Op<"pyneural::mse_loss_backward",
             at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>
    call_mse_loss_backward;

struct MseLoss : torch::autograd::Function<MseLoss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& prediction,
                            const at::Tensor& target) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({prediction, target});
    return call_mse_loss(prediction, target);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor grad = call_backward(call_mse_loss_backward, grads[0], saved[0], saved[1]);
    return {ctx->needs_input_grad(0) ? grad : at::Tensor(),
            ctx->needs_input_grad(1) ? grad.neg() : at::Tensor()};
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_mse_loss", check_mse_loss);
  m.def("check_mse_loss_backward", check_mse_loss_backward);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("mse_loss", AutogradOp<MseLoss, call_mse_loss>::call);
}

}  // namespace pyneural::mse_loss
