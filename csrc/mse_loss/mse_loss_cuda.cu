// The mean squared error on CUDA, forward and backward each in one pass over memory. Blocks take
// tiles in turn and sum them in double; how many there are depends on the size alone, and a second
// kernel adds their sums in order: the same bits on every run.
#include "../common/blocks.cuh"
#include "../common/inline.h"
#include "../common/lane_sums.cuh"
#include "mse_loss_cuda.h"

namespace pyneural::mse_loss {
namespace {

constexpr int kOfThread = 4;  // elements of a tile, whose loads do not wait for each other
constexpr int64_t kTile = kOfThread * kThreads;
constexpr int64_t kMostBlocks = 1024;

// Over the threads of the block, in the same order each time; that of thread 0 counts.
__device__ double block_sum(double value) {
  __shared__ double sums[kThreads / 32];
  value = sum_of_lanes(value, 1);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  for (int warp = 0; warp < kThreads / 32; ++warp) sum += sums[warp];
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_kernel(const __grid_constant__ LossParams<T> params) {
  double sum = 0;
  for_tiles(params.size, kTile, [&](int64_t first) {
    T squares = T(0);
    PYNEURAL_UNROLL
    for (int e = 0; e < kOfThread; ++e) {
      const int64_t i = first + e * kThreads + threadIdx.x;
      const T difference = i < params.size ? params.prediction[i] - params.target[i] : T(0);
      squares += difference * difference;
    }
    sum += squares;
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) params.partial[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    mean_kernel(const __grid_constant__ LossParams<T> params) {
  double sum = 0;
  for (int b = static_cast<int>(threadIdx.x); b < params.blocks; b += kThreads)
    sum += params.partial[b];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *params.loss = static_cast<T>(sum / static_cast<double>(params.size));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ LossGradParams<T> params) {
  const auto size = static_cast<double>(params.size);
  const T factor = static_cast<T>(2 / size * static_cast<double>(*params.grad_loss));
  PYNEURAL_UNROLL
  for (int e = 0; e < kOfThread; ++e) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kTile + e * kThreads + threadIdx.x;
    if (i < params.size) params.grad[i] = factor * (params.prediction[i] - params.target[i]);
  }
}

}  // namespace

template <class T>
void LossParams<T>::configure() {
  const int64_t tiles = tiles_of(size, kTile);
  blocks = static_cast<int32_t>(tiles < kMostBlocks ? tiles : kMostBlocks);
}

template <class T>
cudaError_t LossParams<T>::launch(cudaStream_t stream) const {
  if (blocks > 0)  // else the mean of no elements, NaN
    if (const cudaError_t error =
            pyneural::launch(sum_kernel<T>, blocks, kThreads, 0, stream, *this))
      return error;
  return pyneural::launch(mean_kernel<T>, 1, kThreads, 0, stream, *this);
}

template <class T>
cudaError_t LossGradParams<T>::launch(cudaStream_t stream) const {
  return pyneural::launch(backward_kernel<T>, tiles_of(size, kTile), kThreads, 0, stream, *this);
}

template struct LossParams<float>;
template struct LossParams<double>;
template struct LossGradParams<float>;
template struct LossGradParams<double>;

}  // namespace pyneural::mse_loss
