// Dropout under autograd: it is linear in x, so that its backward is itself, with the same seed.
#include <torch/library.h>

#include "../common/autograd.h"
#include "dropout_check.h"

namespace pyneural::dropout {
namespace {

constexpr Op<"pyneural::dropout", at::Tensor(const at::Tensor&, const at::Tensor&, double)>
    call_dropout;

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

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) { m.def("check_dropout", check_dropout); }
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("dropout", AutogradOp<Dropout, call_dropout>::call);
}

}  // namespace pyneural::dropout
