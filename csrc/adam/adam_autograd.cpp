// Autograd is told of the tensors that Adam changes, so that a backward which needs what they were
// before refuses to run.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/library.h>

#include "../common/find_op.h"
#include "adam_check.h"

namespace pyneural::adam {
namespace {

constexpr Op<"pyneural::adam_", Signature> call_adam;

void adam_(const Arguments& a) {
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    call_adam(a.parameters, a.gradients, a.averages, a.squares, a.steps, a.learning_rate, a.beta1,
              a.beta2, a.epsilon, a.weight_decay, a.decoupled);
  }
  for (const at::TensorList changed : {a.parameters, a.averages, a.squares, a.steps})
    for (const at::Tensor& tensor : changed)
      if (!tensor.is_inference()) torch::autograd::impl::bump_version(tensor);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) { m.def("check_adam_", FlatOp<check_adam_, Signature>::call); }
TORCH_LIBRARY_IMPL(pyneural, ADInplaceOrView, m) {
  m.impl("adam_", FlatOp<adam_, Signature>::call);
}

}  // namespace pyneural::adam
