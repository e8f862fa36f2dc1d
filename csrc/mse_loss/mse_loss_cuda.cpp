// The mean squared error on CUDA: checks, memory and the stream; mse_loss_cuda.cu does the work.
#include "mse_loss_cuda.h"

#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "mse_loss_check.h"

namespace pyneural::mse_loss {
namespace {

at::Tensor mse_loss(const at::Tensor& prediction, const at::Tensor& target) {
  check_mse_loss(prediction, target);
  const auto a = prediction.expect_contiguous(), y = target.expect_contiguous();
  at::Tensor loss = at::empty({}, prediction.options());
  dispatch_floating_cuda(prediction, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    LossParams<T> params{a->numel(), a->const_data_ptr<T>(), y->const_data_ptr<T>()};
    params.configure();
    const at::Tensor partial = at::empty({params.blocks}, a->options().dtype(at::kDouble));
    params.partial = partial.data_ptr<double>();
    params.loss = loss.data_ptr<T>();
    C10_CUDA_CHECK(params.launch(stream));
  });
  return loss;
}

at::Tensor mse_loss_backward(const at::Tensor& grad_loss, const at::Tensor& prediction,
                             const at::Tensor& target) {
  check_mse_loss_backward(grad_loss, prediction, target);
  const auto a = prediction.expect_contiguous(), y = target.expect_contiguous();
  at::Tensor grad = at::empty(prediction.sizes(), prediction.options());
  if (grad.numel() == 0) return grad;
  dispatch_floating_cuda(prediction, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const LossGradParams<T> params{a->numel(), grad_loss.const_data_ptr<T>(),
                                   a->const_data_ptr<T>(), y->const_data_ptr<T>(),
                                   grad.data_ptr<T>()};
    C10_CUDA_CHECK(params.launch(stream));
  });
  return grad;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("mse_loss", mse_loss);
  m.impl("mse_loss_backward", mse_loss_backward);
}

}  // namespace pyneural::mse_loss
