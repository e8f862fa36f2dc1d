// The launches of csrc/adadelta/adadelta_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/adadelta/adadelta_cuda.cu"

using namespace pyneural::adadelta;

namespace {

// The number of launches, or -1.
template <class T>
int step(int order, int count, const int64_t* sizes, T** parameters, const T** gradients,
         T** squares, T** changes, double learning_rate, double rho, double epsilon,
         double weight_decay) {
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  cuda_on_host::calls.clear();
  StepParams<T> params(learning_rate, rho, epsilon, weight_decay);
  for (int i = 0; i < count; ++i)
    if (params.add(sizes[i], parameters[i], gradients[i], squares[i], changes[i], nullptr))
      return -1;
  return params.launch(nullptr) ? -1 : static_cast<int>(cuda_on_host::calls.size());
}

}  // namespace

#define EXPORT(NAME, T)                                                                           \
  extern "C" int step_##NAME(int order, int count, const int64_t* sizes, T** parameters,          \
                             const T** gradients, T** squares, T** changes, double learning_rate, \
                             double rho, double epsilon, double weight_decay) {                   \
    return step(order, count, sizes, parameters, gradients, squares, changes, learning_rate, rho, \
                epsilon, weight_decay);                                                           \
  }
EXPORT(float32, float)
EXPORT(float64, double)
