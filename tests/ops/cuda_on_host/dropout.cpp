// The launch of csrc/dropout/dropout_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/dropout/dropout_cuda.cu"

using namespace pyneural;

#define EXPORT(NAME, T)                                                                          \
  extern "C" int drop_##NAME(int order, int64_t size, const T* x, const int64_t* seed, double p, \
                             T* y) {                                                             \
    cuda_on_host::order = static_cast<cuda_on_host::Order>(order);                               \
    return dropout::DropoutParams<T>{size, x, seed, Dropout(0, p), y}.launch(nullptr) ? -1 : 0;  \
  }
EXPORT(float32, float)
EXPORT(float64, double)
EXPORT(bfloat16, BFloat16)
EXPORT(float16, Float16)
