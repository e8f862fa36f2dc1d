// A step of Adadelta on CUDA: all tensors of a list by one launch and in one pass over memory. Each
// is divided into tiles, and a block takes one of them.
#include <cmath>

#include "../common/inline.h"
#include "../common/launch.cuh"
#include "adadelta_cuda.h"

namespace pyneural::adadelta {
namespace {

constexpr int kThreads = 256;
constexpr int kOfThread = 4;  // elements of a tile
constexpr int64_t kTile = kOfThread * kThreads;

template <class T>
__global__ void __launch_bounds__(kThreads)
    step_kernel(const __grid_constant__ StepParams<T> params) {
  // The last tensor that begins at this block's tile or before.
  int which = 0;
  for (int end = params.count; end - which > 1;) {
    const int middle = (which + end) / 2;
    if (params.tensors[middle].first_tile <= blockIdx.x)
      which = middle;
    else
      end = middle;
  }
  const auto& at = params.tensors[which];
  const int64_t first = (blockIdx.x - at.first_tile) * kTile + threadIdx.x;
  PYNEURAL_UNROLL
  for (int e = 0; e < kOfThread; ++e) {
    const int64_t i = first + e * kThreads;
    if (i >= at.size) break;
    const T weight = at.parameter[i], before = at.change[i];
    // Without a penalty nothing is added: 0 times an infinite weight is not 0.
    const T gradient = at.gradient[i] + (params.decay == 0 ? T(0) : params.decay * weight);
    const T square = params.rho * at.square[i] + params.rest * gradient * gradient;
    const T change = std::sqrt((before + params.epsilon) / (square + params.epsilon)) * gradient;
    at.square[i] = square;
    at.change[i] = params.rho * before + params.rest * change * change;
    at.parameter[i] = weight - params.rate * change;
  }
}

}  // namespace

template <class T>
cudaError_t StepParams<T>::add(int64_t size, T* parameter, const T* gradient, T* square, T* change,
                               cudaStream_t stream) {
  if (size == 0) return cudaSuccess;
  if (count == kMost)
    if (const cudaError_t error = launch(stream)) return error;
  tensors[count++] = {tiles, size, parameter, gradient, square, change};
  tiles += tiles_of(size, kTile);
  return cudaSuccess;
}

template <class T>
cudaError_t StepParams<T>::launch(cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const cudaError_t error = pyneural::launch(step_kernel<T>, tiles, kThreads, 0, stream, *this);
  count = 0;
  tiles = 0;
  return error;
}

template struct StepParams<float>;
template struct StepParams<double>;

}  // namespace pyneural::adadelta
