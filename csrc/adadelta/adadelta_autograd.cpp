// Autograd is told of the tensors that Adadelta changes, so that a backward which needs what they
// were before refuses to run.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/library.h>

#include "../common/find_op.h"
#include "adadelta_check.h"

namespace pyneural::adadelta {
namespace {

constexpr Op<"pyneural::adadelta_", Signature> call_adadelta;

void adadelta_(const Arguments& a) {
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    call_adadelta(a.parameters, a.gradients, a.squares, a.changes, a.steps, a.learning_rate, a.rho,
                  a.epsilon, a.weight_decay);
  }
  for (const at::TensorList changed : {a.parameters, a.squares, a.changes, a.steps})
    for (const at::Tensor& tensor : changed)
      if (!tensor.is_inference()) torch::autograd::impl::bump_version(tensor);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_adadelta_", FlatOp<check_adadelta_, Signature>::call);
}
TORCH_LIBRARY_IMPL(pyneural, ADInplaceOrView, m) {
  m.impl("adadelta_", FlatOp<adadelta_, Signature>::call);
}

}  // namespace pyneural::adadelta
