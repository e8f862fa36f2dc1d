// Dropout under autograd: it is linear in x, so that its backward is itself, with the same seed.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../common/find_op.h"

namespace pyneural::dropout {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor call_dropout(const at::Tensor& x, const at::Tensor& seed, double p) {
  static const auto op = find_op<decltype(call_dropout)>("pyneural::dropout");
  return op.call(x, seed, p);
}

struct Dropout : torch::autograd::Function<Dropout> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& seed,
                            double p) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({seed});
    ctx->saved_data["p"] = p;
    return call_dropout(x, seed, p);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor seed = ctx->get_saved_variables()[0];
    return {call_dropout(grads[0], seed, ctx->saved_data["p"].toDouble()), at::Tensor(),
            at::Tensor()};
  }
};

at::Tensor dropout_autograd(const at::Tensor& x, const at::Tensor& seed, double p) {
  if (at::GradMode::is_enabled() && x.requires_grad()) return Dropout::apply(x, seed, p);
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_dropout(x, seed, p);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("dropout", dropout_autograd); }

}  // namespace pyneural::dropout
