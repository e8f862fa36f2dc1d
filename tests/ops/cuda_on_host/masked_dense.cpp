// The launches of csrc/masked_dense/masked_dense_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/masked_dense/masked_dense_cuda.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::masked_dense;

namespace {

// The parts of the rows, or -1 for an error of CUDA, -2 for memory that is not the kernels'.
template <class T>
int run(int backward, int multiprocessors, int order, const char* activation, int64_t rows,
        int64_t in, int64_t out, int64_t edges, const int64_t* starts, const int64_t* inputs,
        const T* values, const T* x, const T* bias, T* y, T* z, const T* grad_z, T* grad_x,
        T* grad_values) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  MaskedDenseParams<T> params;
  params.rows = rows;
  params.in = in;
  params.out = out;
  params.edges = edges;
  params.starts = starts;
  params.inputs = inputs;
  params.values = values;
  params.x = x;
  params.bias = bias;
  params.y = y;
  params.z = z;
  params.grad_z = grad_z;
  params.grad_x = grad_x;
  params.grad_values = grad_values;
  if (!find_activation(activation, &params.activation)) return -1;
  const EdgeWord guard{-1, 12345};
  std::vector<EdgeWord> words(out * params.words_of_output() + 1, guard);
  params.words = words.data();
  if (backward && params.configure_backward()) return -1;
  Guarded<T> partial(params.splits * edges);
  params.partial = partial.data();
  if (backward ? params.launch_backward(nullptr) : params.launch_forward(nullptr)) return -1;
  return partial.overrun() || words.back().is_edge != guard.is_edge ? -2 : params.splits;
}

}  // namespace

#define EXPORT(NAME, T)                                                                            \
  extern "C" int run_##NAME(int backward, int multiprocessors, int order, const char* activation,  \
                            int64_t rows, int64_t in, int64_t out, int64_t edges,                  \
                            const int64_t* starts, const int64_t* inputs, const T* values,         \
                            const T* x, const T* bias, T* y, T* z, const T* grad_z, T* grad_x,     \
                            T* grad_values) {                                                      \
    return run(backward, multiprocessors, order, activation, rows, in, out, edges, starts, inputs, \
               values, x, bias, y, z, grad_z, grad_x, grad_values);                                \
  }
EXPORT(float32, float)
EXPORT(float64, double)
