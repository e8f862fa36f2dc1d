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

void call_adadelta(at::TensorList parameters, at::TensorList gradients, at::TensorList squares,
                   at::TensorList changes, at::TensorList steps, double learning_rate, double rho,
                   double epsilon, double weight_decay) {
  static const auto op = find_op<decltype(call_adadelta)>("pyneural::adadelta_");
  op.call(parameters, gradients, squares, changes, steps, learning_rate, rho, epsilon,
          weight_decay);
}

void adadelta_(at::TensorList parameters, at::TensorList gradients, at::TensorList squares,
               at::TensorList changes, at::TensorList steps, double learning_rate, double rho,
               double epsilon, double weight_decay) {
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    call_adadelta(parameters, gradients, squares, changes, steps, learning_rate, rho, epsilon,
                  weight_decay);
  }
  for (const at::TensorList changed : {parameters, squares, changes, steps})
    for (const at::Tensor& tensor : changed)
      if (!tensor.is_inference()) torch::autograd::impl::bump_version(tensor);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) { m.def("check_adadelta_", check_adadelta_); }
TORCH_LIBRARY_IMPL(pyneural, ADInplaceOrView, m) { m.impl("adadelta_", adadelta_); }

}  // namespace pyneural::adadelta
