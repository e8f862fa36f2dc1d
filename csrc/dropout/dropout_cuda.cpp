// Dropout on CUDA: checks, memory and the stream; dropout_cuda.cu does the work.
#include "dropout_cuda.h"

#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "dropout_check.h"

namespace pyneural::dropout {
namespace {

at::Tensor dropout(const at::Tensor& x, const at::Tensor& seed, double p) {
  check_dropout(x, seed, p);
  const auto from = x.expect_contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  if (y.numel() == 0) return y;
  const at::Tensor of_device = on_device(seed, x.device());
  dispatch_with_reduced_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const DropoutParams<T> params{y.numel(), elements<T>(*from),
                                  of_device.const_data_ptr<int64_t>(), Dropout(0, p),
                                  mutable_elements<T>(y)};
    C10_CUDA_CHECK(params.launch(stream));
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { m.impl("dropout", dropout); }

}  // namespace pyneural::dropout
