// The launches of csrc/jet/jet_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/jet/jet_cuda.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::jet;

namespace {

enum Op { forward, backward, jacobian };
enum Failure { cuda = 1, arguments, overrun };

template <class T>
int run(int op, int multiprocessors, int order, const DerivativeList& derivatives,
        const char* activation, int layers, const int* widths, int64_t points, bool has_jet_x,
        const T* x, const T* parameters, const T* grad_output, T* output, T* grad_x,
        T* grad_parameters) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  auto params = std::make_unique<JetParams<T>>();
  const int64_t coordinates = has_jet_x ? kMaxInput + 1 : widths[0];
  if (make_plan(derivatives, coordinates, &params->plan).kind != PlanError::none) return arguments;
  if (!find_activation(activation, &params->activation)) return arguments;
  params->layers = layers;
  std::copy_n(widths, layers + 1, params->width);
  for (int l = 0; l < layers; ++l)
    params->offset[l + 1] = params->offset[l] + int64_t{widths[l + 1]} * (widths[l] + 1);
  params->points = points;
  params->has_jet_x = has_jet_x;
  params->x = x;
  params->parameters = parameters;
  params->grad_output = grad_output;
  params->output = output;
  params->grad_x = grad_x;
  params->grad_parameters = grad_parameters;
  if (params->configure(op != forward, grad_parameters != nullptr)) return cuda;
  Guarded<T> scratch(params->blocks * params->slab);
  Guarded<T> partial(grad_parameters ? params->blocks * params->offset[layers] : 0);
  params->scratch = scratch.data();
  if (grad_parameters) params->partial = partial.data();
  const cudaError_t error = op == forward    ? params->launch_forward(nullptr)
                            : op == backward ? params->launch_backward(nullptr)
                                             : params->launch_jacobian(nullptr);
  if (error) return cuda;
  return scratch.overrun() || partial.overrun() ? overrun : 0;
}

}  // namespace

#define EXPORT(T)                                                                                  \
  extern "C" int run_##T(int op, int multiprocessors, int order, const int64_t* derivatives,       \
                         int64_t elements, const double* coefficients, int64_t coefficient_count,  \
                         const char* activation, int layers, const int* widths, int64_t points,    \
                         bool has_jet_x, const T* x, const T* parameters, const T* grad_output,    \
                         T* output, T* grad_x, T* grad_parameters) {                               \
    const DerivativeList list{{derivatives, static_cast<size_t>(elements)},                        \
                              {coefficients, static_cast<size_t>(coefficient_count)}};             \
    return run(op, multiprocessors, order, list, activation, layers, widths, points, has_jet_x, x, \
               parameters, grad_output, output, grad_x, grad_parameters);                          \
  }
EXPORT(float)
EXPORT(double)
