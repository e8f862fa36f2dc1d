// The launches of csrc/mlp/mlp_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/mlp/mlp_cuda.cu"
#include "guarded.h"
#include "layers.h"

using namespace pyneural;
using namespace pyneural::mlp;

namespace {

enum Failure { cuda = 1, arguments, overrun };

TileChoice last_tile;

template <class T>
int run(int backward, int multiprocessors, int shared_bytes, int order, const char* hidden,
        const char* final, int layers, const int64_t* widths, int64_t rows, const T* x,
        const T* parameters, const T* grad_y, T* y, T* grad_x, T* grad_parameters) {
  cuda_on_host::multiprocessors = multiprocessors;
  cuda_on_host::shared_bytes = shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  MlpParams<T> params;
  if (!find_activation(hidden, &params.hidden) || !find_activation(final, &params.final))
    return arguments;
  const Layers<T> kept(layers, widths, parameters);
  params.layers = kept.pointers();
  params.rows = rows;
  params.x = x;
  params.grad_y = grad_y;
  params.y = y;
  params.grad_x = grad_x;
  params.grad_parameters = grad_parameters;
  if (params.configure(backward, grad_parameters != nullptr)) return cuda;
  const TileChoice& tile = params.tile;
  last_tile = tile;
  Guarded<T> scratch(tile.shared_slab ? 0 : tile.blocks * tile.slab);
  Guarded<T> partial(grad_parameters ? tile.blocks * params.layers.parameters() : 0);
  params.scratch = scratch.data();
  if (grad_parameters) params.partial = partial.data();
  if (backward ? params.launch_backward(nullptr) : params.launch_forward(nullptr)) return cuda;
  return scratch.overrun() || partial.overrun() ? overrun : 0;
}

}  // namespace

#define EXPORT(T)                                                                                  \
  extern "C" int run_##T(int backward, int multiprocessors, int shared_bytes, int order,           \
                         const char* hidden, const char* final, int layers, const int64_t* widths, \
                         int64_t rows, const T* x, const T* parameters, const T* grad_y, T* y,     \
                         T* grad_x, T* grad_parameters) {                                          \
    return run(backward, multiprocessors, shared_bytes, order, hidden, final, layers, widths,      \
               rows, x, parameters, grad_y, y, grad_x, grad_parameters);                           \
  }
EXPORT(float)
EXPORT(double)

// Of the last run: the columns of a tile, whether its slab was shared memory, and the blocks.
extern "C" void tile_of_last_run(int64_t* values) {
  values[0] = last_tile.columns;
  values[1] = last_tile.shared_slab;
  values[2] = last_tile.blocks;
}

// The set-ups and launches since the last call, at most `most` of them: pairs of whether it is a
// set-up, and bytes. Gives their count.
extern "C" int64_t calls_since(int64_t most, int64_t* pairs) {
  const auto calls = std::exchange(cuda_on_host::calls, {});
  for (size_t i = 0; i < calls.size() && static_cast<int64_t>(i) < most; ++i) {
    pairs[2 * i] = calls[i].is_set_up;
    pairs[2 * i + 1] = static_cast<int64_t>(calls[i].shared);
  }
  return static_cast<int64_t>(calls.size());
}
