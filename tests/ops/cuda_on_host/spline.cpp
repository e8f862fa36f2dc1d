// The launches of csrc/spline/spline_cuda.cu behind functions that ctypes can call.
#include <cuda_runtime_api.h>

#include "csrc/spline/spline_cuda.cu"

using namespace pyneural;
using namespace pyneural::spline;

namespace {

// The threads of a block, or -1.
template <class T>
int run(int backward, int shared_bytes, int order, double bound, double slope, int inverse,
        int64_t points, int64_t bins, int64_t distance, const T* x, const T* widths,
        const T* heights, const T* derivatives, const T* grad_y, const T* grad_ladj, T* y, T* ladj,
        T* grad_x, T* grad_widths, T* grad_heights, T* grad_derivatives) {
  cuda_on_host::shared_bytes = shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(order);
  SplineParams<T> params;
  params.spline = make_spline<T>(bins, bound, slope, inverse);
  params.points = points;
  params.x = x;
  params.rows[0] = {widths, distance, grad_widths};
  params.rows[1] = {heights, distance, grad_heights};
  params.rows[2] = {derivatives, distance, grad_derivatives};
  params.y = y;
  params.ladj = ladj;
  params.grad_y = grad_y;
  params.grad_ladj = grad_ladj;
  params.grad_x = grad_x;
  if (params.configure(backward)) return -1;
  if (params.threads == 0) return 0;
  const cudaError_t error =
      backward ? params.launch_backward(nullptr) : params.launch_forward(nullptr);
  return error ? -1 : params.threads;
}

}  // namespace

#define EXPORT(T)                                                                                 \
  extern "C" int run_##T(int backward, int shared_bytes, int order, double bound, double slope,   \
                         int inverse, int64_t points, int64_t bins, int64_t distance, const T* x, \
                         const T* widths, const T* heights, const T* derivatives,                 \
                         const T* grad_y, const T* grad_ladj, T* y, T* ladj, T* grad_x,           \
                         T* grad_widths, T* grad_heights, T* grad_derivatives) {                  \
    return run(backward, shared_bytes, order, bound, slope, inverse, points, bins, distance, x,   \
               widths, heights, derivatives, grad_y, grad_ladj, y, ladj, grad_x, grad_widths,     \
               grad_heights, grad_derivatives);                                                   \
  }
EXPORT(float)
EXPORT(double)
