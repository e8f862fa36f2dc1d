// The launches of csrc/jet/jet_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/jet/jet_cuda.cu"
#include "guarded.h"
#include "layers.h"

using namespace pyneural;
using namespace pyneural::jet;

namespace {

enum Failure { cuda = 1, arguments, overrun };

TileChoice last_tile;

template <class T>
int run(int op, int multiprocessors, int shared_bytes, int order, const DerivativeList& derivatives,
        const char* activation, int layers, const int64_t* widths, int64_t points, bool has_jet_x,
        const T* x, const T* parameters, const T* grad_output, T* output, T* grad_x,
        T* grad_parameters) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::shared_bytes = shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  auto params = std::make_unique<JetParams<T>>();
  const int64_t coordinates = has_jet_x ? kMaxInput + 1 : widths[0];
  if (make_plan(derivatives, coordinates, &params->plan).kind != PlanError::none) return arguments;
  if (!find_activation(activation, &params->activation)) return arguments;
  const Layers<T> kept(layers, widths, parameters);
  params->layers = kept.pointers();
  params->points = points;
  params->has_jet_x = has_jet_x;
  params->x = x;
  params->grad_output = grad_output;
  params->output = output;
  params->grad_x = grad_x;
  params->grad_parameters = grad_parameters;
  const auto pass = static_cast<Pass>(op);
  if (params->configure(pass, grad_parameters != nullptr)) return cuda;
  const TileChoice& tile = params->tile;
  last_tile = tile;
  Guarded<T> scratch(tile.shared_slab ? 0 : tile.blocks * tile.slab);
  Guarded<T> partial(grad_parameters ? tile.blocks * params->layers.parameters() : 0);
  params->scratch = scratch.data();
  if (grad_parameters) params->partial = partial.data();
  const cudaError_t error = pass == Pass::forward    ? params->launch_forward(nullptr)
                            : pass == Pass::backward ? params->launch_backward(nullptr)
                                                     : params->launch_jacobian(nullptr);
  if (error) return cuda;
  return scratch.overrun() || partial.overrun() ? overrun : 0;
}

}  // namespace

#define EXPORT(T)                                                                                  \
  extern "C" int run_##T(int op, int multiprocessors, int shared_bytes, int order,                 \
                         const int64_t* derivatives, int64_t elements, const double* coefficients, \
                         int64_t coefficient_count, const char* activation, int layers,            \
                         const int64_t* widths, int64_t points, bool has_jet_x, const T* x,        \
                         const T* parameters, const T* grad_output, T* output, T* grad_x,          \
                         T* grad_parameters) {                                                     \
    const DerivativeList list{{derivatives, static_cast<size_t>(elements)},                        \
                              {coefficients, static_cast<size_t>(coefficient_count)}};             \
    return run(op, multiprocessors, shared_bytes, order, list, activation, layers, widths, points, \
               has_jet_x, x, parameters, grad_output, output, grad_x, grad_parameters);            \
  }
EXPORT(float)
EXPORT(double)

// Of the last run: the columns of a tile, whether its slab was shared memory, and the blocks.
extern "C" void tile_of_last_run(int64_t* values) {
  values[0] = last_tile.columns;
  values[1] = last_tile.shared_slab;
  values[2] = last_tile.blocks;
}
