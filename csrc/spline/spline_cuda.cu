// The rational-quadratic spline on CUDA: a thread a point. The parameters of a block's points pass
// through shared memory, so that neighbouring threads read and write neighbouring elements.
#include "../common/launch.cuh"
#include "../common/scalar_math.h"
#include "spline_cuda.h"

namespace pyneural::spline {
namespace {

constexpr int kMostThreads = 128;
constexpr int kWarp = 32;
// Up to so much shared memory several blocks run beside each other.
constexpr int64_t kModestBytes = 48 << 10;

extern __shared__ __align__(16) unsigned char shared_memory[];

// body(element, shared element, kind) for each parameter of the block's points.
template <class T, class Body>
__device__ void for_parameters(const SplineParams<T>& params, int64_t first, const Body& body) {
  const int64_t left = params.points - first, K = params.spline.bins;
  const int64_t n = left < params.threads ? left : params.threads;
  T* const slabs = reinterpret_cast<T*>(shared_memory);
  for (int kind = 0; kind < 3; ++kind) {
    const int64_t columns = kind < 2 ? K : K - 1;
    for (int64_t i = threadIdx.x; i < n * columns; i += params.threads) {
      const int64_t point = i / columns, column = i % columns;
      body(params.rows[kind], first + point, column, columns,
           slabs + point * params.slab + kind * K + column);
    }
  }
}

template <class T>
__device__ T* load_parameters(const SplineParams<T>& params, int64_t first) {
  for_parameters(params, first,
                 [](const ParameterRows<T>& rows, int64_t point, int64_t column, int64_t,
                    T* shared) { *shared = rows.data[point * rows.distance + column]; });
  __syncthreads();
  return reinterpret_cast<T*>(shared_memory) + threadIdx.x * params.slab;
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    forward_kernel(const __grid_constant__ SplineParams<T> params) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * params.threads;
  const int64_t point = first + threadIdx.x;
  T* const parameters = load_parameters(params, first);
  if (point >= params.points) return;
  const Values<T> values = evaluate(params.spline, params.x[point], parameters, parameters, 1);
  params.y[point] = values.y;
  params.ladj[point] = values.ladj;
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    backward_kernel(const __grid_constant__ SplineParams<T> params) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * params.threads;
  const int64_t point = first + threadIdx.x;
  T* const parameters = load_parameters(params, first);
  if (point < params.points)
    params.grad_x[point] =
        differentiate(params.spline, params.x[point], params.grad_y[point], params.grad_ladj[point],
                      parameters, parameters + 3 * params.spline.bins - 1, 1);
  __syncthreads();
  for_parameters(params, first,
                 [](const ParameterRows<T>& rows, int64_t point, int64_t column, int64_t columns,
                    T* shared) { rows.grad[point * columns + column] = *shared; });
}

}  // namespace

template <class T>
cudaError_t SplineParams<T>::configure(bool backward) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  // An odd distance lies in other banks for each thread of a warp.
  slab = (backward ? 5 : 3) * spline.bins - 1 | 1;
  const int64_t bytes = slab * static_cast<int64_t>(sizeof(T));
  const auto fitting = [&](int64_t limit) {
    const int64_t fit = limit / bytes;
    return fit < kMostThreads ? fit : kMostThreads;
  };
  const int64_t modest = fitting(kModestBytes), most = fitting(device.shared_bytes);
  const int64_t chosen = modest >= kWarp ? modest / kWarp * kWarp : most < kWarp ? most : kWarp;
  threads = static_cast<int32_t>(chosen);
  return cudaSuccess;
}

template <class T>
cudaError_t SplineParams<T>::launch_forward(cudaStream_t stream) const {
  return launch(forward_kernel<T>, tiles_of(points, threads), threads, shared_bytes(), stream,
                *this);
}

template <class T>
cudaError_t SplineParams<T>::launch_backward(cudaStream_t stream) const {
  return launch(backward_kernel<T>, tiles_of(points, threads), threads, shared_bytes(), stream,
                *this);
}

template struct SplineParams<float>;
template struct SplineParams<double>;

}  // namespace pyneural::spline
