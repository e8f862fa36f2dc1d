// The launch of csrc/diffusion_sampler/diffusion_sampler_cuda.cu behind functions that ctypes can
// call.
#include <cuda_runtime_api.h>

#include "csrc/diffusion_sampler/diffusion_sampler_cuda.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::diffusion_sampler;

namespace {

enum Result { in_global_memory, in_shared_memory, cuda, arguments, overrun };

template <class T>
int run(int multiprocessors, int shared_bytes, int order, const char* activation, int layers,
        const int64_t* widths, int64_t rows, int64_t features, int64_t condition_columns,
        int64_t steps, int64_t memory, double guidance, const T* x, const T* condition,
        const T* parameters, const T* shifts, const T* coefficients, const int64_t* seed, T* y) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::shared_bytes = shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  DiffusionSamplerParams<T> params;
  if (!find_activation(activation, &params.activation)) return arguments;
  params.layers = layers;
  std::copy_n(widths, layers + 1, params.width);
  for (int l = 0; l < layers; ++l)
    params.offset[l + 1] = params.offset[l] + widths[l + 1] * (widths[l] + 1);
  params.rows = rows;
  params.features = features;
  params.condition_columns = condition_columns;
  params.steps = steps;
  params.memory = memory;
  params.guidance = static_cast<T>(guidance);
  params.x = x;
  params.condition = condition;
  params.parameters = parameters;
  params.shifts = shifts;
  params.coefficients = coefficients;
  params.seed = seed;
  params.y = y;
  if (params.configure()) return cuda;
  Guarded<T> scratch(params.shared_slab ? 0 : params.blocks * params.slab);
  params.scratch = scratch.data();
  // What a block finds in its shared memory means nothing.
  std::fill_n(reinterpret_cast<T*>(cuda_on_host::dynamic_shared), kMaxSharedBytes / sizeof(T),
              std::numeric_limits<T>::quiet_NaN());
  if (params.launch(nullptr)) return cuda;
  if (scratch.overrun()) return overrun;
  return params.shared_slab ? in_shared_memory : in_global_memory;
}

}  // namespace

#define EXPORT(T)                                                                                  \
  extern "C" int run_##T(int multiprocessors, int shared_bytes, int order, const char* activation, \
                         int layers, const int64_t* widths, int64_t rows, int64_t features,        \
                         int64_t condition_columns, int64_t steps, int64_t memory,                 \
                         double guidance, const T* x, const T* condition, const T* parameters,     \
                         const T* shifts, const T* coefficients, const int64_t* seed, T* y) {      \
    return run(multiprocessors, shared_bytes, order, activation, layers, widths, rows, features,   \
               condition_columns, steps, memory, guidance, x, condition, parameters, shifts,       \
               coefficients, seed, y);                                                             \
  }
EXPORT(float)
EXPORT(double)
