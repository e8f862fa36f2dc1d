// The launches of csrc/dense/dense_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include <limits>
#include <vector>

#include "csrc/dense/dense_cuda.cu"
#include "fenced.h"

using namespace pyneural;
using namespace pyneural::dense;

namespace {

void begin(int multiprocessors, int order) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
}

template <class T>
int product(int multiprocessors, int order, const char* activation, int with_tf32, int64_t rows,
            int64_t columns, int64_t depth, const T* a, int a_along_k, const T* b, int b_along_k,
            const T* bias, T* y, T* z) {
  begin(multiprocessors, order);
  ProductParams<T> params;
  params.rows = rows;
  params.columns = columns;
  params.depth = depth;
  const Fenced<T> left(a, rows * depth), right(b, columns * depth);
  params.a = {left.data(), a_along_k ? depth : 1, a_along_k ? 1 : rows};
  params.b = {right.data(), b_along_k ? depth : 1, b_along_k ? 1 : columns};
  params.bias = bias;
  if (!find_activation(activation, &params.activation)) return -1;
  params.y = y;
  params.z = z;
  params.with_tf32 = with_tf32;
  if (params.configure()) return -1;
  std::vector<Accumulator<T>> partial(params.splits > 1 ? params.splits * rows * columns : 0,
                                      std::numeric_limits<Accumulator<T>>::quiet_NaN());
  params.partial = partial.data();
  return params.launch(nullptr) ? -1 : params.splits;
}

template <class T>
int grad(int order, const char* activation, int64_t rows, int64_t columns, const T* grad_y,
         const T* saved, T* grad_z, T* grad_bias) {
  begin(1, order);
  GradParams<T> params;
  params.rows = rows;
  params.columns = columns;
  if (!find_activation(activation, &params.activation)) return -1;
  params.grad_y = grad_y;
  params.saved = saved;
  params.grad_z = grad_z;
  params.grad_bias = grad_bias;
  params.configure();
  std::vector<Accumulator<T>> partial(params.blocks * columns,
                                      std::numeric_limits<Accumulator<T>>::quiet_NaN());
  params.partial = partial.data();
  return params.launch(nullptr) ? -1 : 0;
}

}  // namespace

#define EXPORT(NAME, T)                                                                        \
  extern "C" int product_##NAME(int multiprocessors, int order, const char* activation,        \
                                int with_tf32, int64_t rows, int64_t columns, int64_t depth,   \
                                const T* a, int a_along_k, const T* b, int b_along_k,          \
                                const T* bias, T* y, T* z) {                                   \
    return product<T>(multiprocessors, order, activation, with_tf32, rows, columns, depth, a,  \
                      a_along_k, b, b_along_k, bias, y, z);                                    \
  }                                                                                            \
  extern "C" int grad_##NAME(int order, const char* activation, int64_t rows, int64_t columns, \
                             const T* grad_y, const T* saved, T* grad_z, T* grad_bias) {       \
    return grad<T>(order, activation, rows, columns, grad_y, saved, grad_z, grad_bias);        \
  }
EXPORT(float32, float)
EXPORT(float64, double)
EXPORT(bfloat16, BFloat16)
EXPORT(float16, Float16)
