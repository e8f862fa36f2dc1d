// A step of Adadelta on CUDA: checks and the stream; adadelta_cuda.cu does the work.
#include "adadelta_cuda.h"

#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "adadelta_check.h"

namespace pyneural::adadelta {
namespace {

// Tensors of one dtype.
template <class T>
void step_all(const Arguments& a, cudaStream_t stream) {
  StepParams<T> params(a.learning_rate, a.rho, a.epsilon, a.weight_decay);
  for (size_t i = 0; i < a.parameters.size(); ++i)
    if (a.parameters[i].scalar_type() == c10::CppTypeToScalarType<T>::value)
      C10_CUDA_CHECK(params.add(a.parameters[i].numel(), a.parameters[i].data_ptr<T>(),
                                a.gradients[i].const_data_ptr<T>(), a.squares[i].data_ptr<T>(),
                                a.changes[i].data_ptr<T>(), stream));
  C10_CUDA_CHECK(params.launch(stream));
}

void adadelta_(const Arguments& a) {
  check_adadelta_(a);
  const at::Device device = a.parameters[0].device();
  const c10::cuda::CUDAGuard guard(device);
  check_kernels(device);
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  step_all<float>(a, stream);
  step_all<double>(a, stream);
  for (const at::Tensor& step : a.steps) count_step(step);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { m.impl("adadelta_", FlatOp<adadelta_, Signature>::call); }

}  // namespace pyneural::adadelta
