// The launches of csrc/mse_loss/mse_loss_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/mse_loss/mse_loss_cuda.cu"
#include "guarded.h"

using namespace pyneural::mse_loss;

namespace {

// The blocks that sum, or -1.
template <class T>
int forward(int order, int64_t size, const T* prediction, const T* target, T* loss) {
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  LossParams<T> params{size, prediction, target};
  params.configure();
  Guarded<double> partial(params.blocks);
  params.partial = partial.data();
  params.loss = loss;
  return params.launch(nullptr) || partial.overrun() ? -1 : params.blocks;
}

}  // namespace

#define EXPORT(NAME, T)                                                                            \
  extern "C" int forward_##NAME(int order, int64_t size, const T* prediction, const T* target,     \
                                T* loss) {                                                         \
    return forward(order, size, prediction, target, loss);                                         \
  }                                                                                                \
  extern "C" int backward_##NAME(int order, int64_t size, const T* grad_loss, const T* prediction, \
                                 const T* target, T* grad) {                                       \
    cuda_on_host::order = static_cast<cuda_on_host::Order>(order);                                 \
    return LossGradParams<T>{size, grad_loss, prediction, target, grad}.launch(nullptr) ? -1 : 0;  \
  }
EXPORT(float32, float)
EXPORT(float64, double)
