// The launches of csrc/autoregressive/autoregressive_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/autoregressive/autoregressive_cuda.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::autoregressive;

namespace {

enum Result { in_global_memory, in_shared_memory, cuda, arguments, overrun };

template <class T>
int run(int backward, int multiprocessors, int shared_bytes, int order, const char* activation,
        int is_affine, double bound, double slope, int inverse, int layers, const int64_t* widths,
        int64_t rows, int64_t features, int64_t context_columns, int64_t parameters_of_feature,
        const int64_t* degrees, const T* x, const T* context, const T* parameters, const T* seen,
        const T* grad_y, const T* grad_ladj, T* y, T* ladj, T* grad_x, T* grad_context,
        T* grad_parameters) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::shared_bytes = shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  AutoregressiveParams<T> params;
  if (!find_activation(activation, &params.activation)) return arguments;
  params.layers = layers;
  std::copy_n(widths, layers + 1, params.width);
  for (int l = 0; l < layers; ++l)
    params.offset[l + 1] = params.offset[l] + widths[l + 1] * (widths[l] + 1);
  params.is_affine = is_affine;
  params.affine = make_affine<T>(slope, inverse);
  params.spline = spline::make_spline<T>((parameters_of_feature + 1) / 3, bound, slope, inverse);
  params.inverse = inverse;
  params.rows = rows;
  params.features = features;
  params.context_columns = context_columns;
  params.parameters_of_feature = parameters_of_feature;
  params.degrees = degrees;
  params.x = x;
  params.context = context;
  params.parameters = parameters;
  params.seen = backward ? seen : nullptr;
  params.grad_y = grad_y;
  params.grad_ladj = grad_ladj;
  params.y = y;
  params.ladj = ladj;
  params.grad_x = grad_x;
  params.grad_context = grad_context;
  params.grad_parameters = grad_parameters;
  if (params.configure(backward)) return cuda;
  const bool with_gradient = backward && grad_parameters;
  Guarded<T> sorted(params.sorted_size), total(with_gradient ? params.gradient_size : 0),
      partial(with_gradient ? params.blocks * params.gradient_size : 0),
      scratch(params.shared_slab ? 0 : params.blocks * params.slab.size);
  std::vector<int64_t> index(params.kIndices * params.units, -1);
  params.sorted = sorted.data();
  params.scratch = scratch.data();
  params.index = index.data();
  params.total = total.data();
  params.partial = with_gradient ? partial.data() : nullptr;
  // What a block finds in its shared memory means nothing.
  std::fill_n(reinterpret_cast<T*>(cuda_on_host::dynamic_shared), kMaxSharedBytes / sizeof(T),
              std::numeric_limits<T>::quiet_NaN());
  if (backward ? params.launch_backward(nullptr) : params.launch_forward(nullptr)) return cuda;
  if (sorted.overrun() || total.overrun() || partial.overrun() || scratch.overrun()) return overrun;
  return params.shared_slab ? in_shared_memory : in_global_memory;
}

}  // namespace

#define EXPORT(T)                                                                                  \
  extern "C" int run_##T(int backward, int multiprocessors, int shared_bytes, int order,           \
                         const char* activation, int is_affine, double bound, double slope,        \
                         int inverse, int layers, const int64_t* widths, int64_t rows,             \
                         int64_t features, int64_t context_columns, int64_t parameters_of_feature, \
                         const int64_t* degrees, const T* x, const T* context,                     \
                         const T* parameters, const T* seen, const T* grad_y, const T* grad_ladj,  \
                         T* y, T* ladj, T* grad_x, T* grad_context, T* grad_parameters) {          \
    return run(backward, multiprocessors, shared_bytes, order, activation, is_affine, bound,       \
               slope, inverse, layers, widths, rows, features, context_columns,                    \
               parameters_of_feature, degrees, x, context, parameters, seen, grad_y, grad_ladj, y, \
               ladj, grad_x, grad_context, grad_parameters);                                       \
  }
EXPORT(float)
EXPORT(double)
