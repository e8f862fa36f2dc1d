// The dense layer on CUDA: products on tensor cores with bias and activation in their epilogue.
//
// A block computes a tile of the result. Where the tiles do not occupy the device, as in the
// gradient of a small weight over many rows, the depth is split too, and a second kernel adds the
// parts in order: the same bits on every run.
#include "../common/elements.cuh"
#include "../common/grid.cuh"
#include "../common/scalar_math.h"
#include "product_tile.cuh"

namespace pyneural::dense {
namespace {

constexpr int64_t kShortestSplit = 512;  // of the depth
constexpr int64_t kGradRows = 256;       // of a block that sums grad_bias
constexpr int kGradColumns = 32;

// y and z of one element from its sum.
template <class T>
__device__ void finish(const ProductParams<T>& params, int64_t row, int64_t column,
                       Accumulator<T> sum) {
  if (params.bias) sum += load(params.bias + column);
  const int64_t at = row * params.columns + column;
  if (params.z) store(sum, params.z + at);
  if (params.activation != ActivationKind::linear) {
    Accumulator<T> f[1];
    visit_activation(params.activation,
                     [&](auto kind) { decltype(kind)::template evaluate<0>(sum, f); });
    sum = f[0];
  }
  store(sum, params.y + at);
}

template <class T>
struct StageOf {
  using Type = Chunks;
};
template <>
struct StageOf<double> {
  using Type = ProductStage<double>;
};

template <Along along_a, Along along_b, class T>
__global__ void __launch_bounds__(kThreads)
    product_kernel(const __grid_constant__ ProductParams<T> params) {
  __shared__ typename StageOf<T>::Type stage;
  const int64_t across = tiles_of(params.columns, kProductColumns);
  const int64_t tiles = tiles_of(params.rows, kProductRows) * across;
  const int64_t tile = blockIdx.x % tiles, split = blockIdx.x / tiles;
  // Whole chunks, so that all splits but the last find vectors where the first does.
  constexpr int64_t kUnit = 64;
  const int64_t units = tiles_of(params.depth, kUnit);
  const int64_t k_begin = split * units / params.splits * kUnit;
  const int64_t end = (split + 1) * units / params.splits * kUnit;
  const int64_t k_end = end < params.depth ? end : params.depth;
  product_tile<along_a, along_b>(
      params, tile / across * kProductRows, tile % across * kProductColumns, k_begin, k_end, stage,
      [&](int64_t row, int64_t column, Accumulator<T> sum) {
        if (params.splits > 1)
          params.partial[(split * params.rows + row) * params.columns + column] = sum;
        else
          finish(params, row, column, sum);
      });
}

template <class T>
__global__ void add_splits_kernel(const __grid_constant__ ProductParams<T> params) {
  const int64_t size = params.rows * params.columns;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= size) return;
  Accumulator<T> sum = Accumulator<T>(0);
  for (int64_t s = 0; s < params.splits; ++s) sum += params.partial[s * size + at];
  finish(params, at / params.columns, at % params.columns, sum);
}

// A block takes kGradColumns columns of kGradRows rows.
template <class T>
__global__ void __launch_bounds__(kThreads)
    grad_kernel(const __grid_constant__ GradParams<T> params) {
  constexpr int kLines = kThreads / kGradColumns;
  __shared__ Accumulator<T> sums[kLines][kGradColumns];
  const int64_t across = tiles_of(params.columns, kGradColumns);
  const int64_t block = blockIdx.x / across;
  const int line = static_cast<int>(threadIdx.x) / kGradColumns;
  const int lane = static_cast<int>(threadIdx.x) % kGradColumns;
  const int64_t column = blockIdx.x % across * kGradColumns + lane;
  const int64_t last = (block + 1) * kGradRows;
  const int64_t end = last < params.rows ? last : params.rows;
  Accumulator<T> total = Accumulator<T>(0);
  for (int64_t row = block * kGradRows + line; row < end && column < params.columns;
       row += kLines) {
    const int64_t at = row * params.columns + column;
    Accumulator<T> grad = load(params.grad_y + at);
    if (params.activation != ActivationKind::linear) {
      const Accumulator<T> saved = load(params.saved + at);
      visit_activation(params.activation,
                       [&](auto kind) { grad *= slope_from_saved<decltype(kind)>(saved); });
    }
    if (params.grad_z) store(grad, params.grad_z + at);
    total += grad;
  }
  sums[line][lane] = total;
  __syncthreads();
  if (params.grad_bias && line == 0 && column < params.columns) {
    for (int i = 1; i < kLines; ++i) total += sums[i][lane];
    params.partial[block * params.columns + column] = total;
  }
}

template <class T>
__global__ void add_blocks_kernel(const __grid_constant__ GradParams<T> params) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= params.columns) return;
  Accumulator<T> sum = Accumulator<T>(0);
  for (int64_t b = 0; b < params.blocks; ++b) sum += params.partial[b * params.columns + column];
  store(sum, params.grad_bias + column);
}

template <Along along_a, Along along_b, class T>
cudaError_t launch_product_of(const ProductParams<T>& params, cudaStream_t stream) {
  const int64_t blocks = tiles_of(params.rows, kProductRows) *
                         tiles_of(params.columns, kProductColumns) * params.splits;
  if (const cudaError_t error = check_grid(blocks)) return error;
  const auto grid = static_cast<unsigned>(blocks);
  const auto kernel = product_kernel<along_a, along_b, T>;
  kernel<<<grid, kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace

template <class T>
cudaError_t configure_product(ProductParams<T>* params) {
  int device = 0, multiprocessors = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device))
    return error;
  const int64_t tiles =
      tiles_of(params->rows, kProductRows) * tiles_of(params->columns, kProductColumns);
  const int64_t idle = multiprocessors / (tiles > 0 ? tiles : 1);
  const int64_t most = params->depth / kShortestSplit;
  const int64_t splits = idle < most ? idle : most;
  params->splits = static_cast<int32_t>(splits > 1 ? splits : 1);
  return cudaSuccess;
}

template <class T>
cudaError_t launch_product(const ProductParams<T>& params, cudaStream_t stream) {
  const bool a_along_k = params.a.k_stride == 1, b_along_k = params.b.k_stride == 1;
  const auto launch = a_along_k && b_along_k ? launch_product_of<Along::k, Along::k, T>
                      : a_along_k            ? launch_product_of<Along::k, Along::row, T>
                      : b_along_k            ? launch_product_of<Along::row, Along::k, T>
                                             : launch_product_of<Along::row, Along::row, T>;
  if (const cudaError_t error = launch(params, stream)) return error;
  if (params.splits == 1) return cudaSuccess;
  const int64_t blocks = tiles_of(params.rows * params.columns, kThreads);
  if (const cudaError_t error = check_grid(blocks)) return error;
  const auto grid = static_cast<unsigned>(blocks);
  add_splits_kernel<T><<<grid, kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

template <class T>
void configure_grad(GradParams<T>* params) {
  params->blocks = tiles_of(params->rows, kGradRows);
}

template <class T>
cudaError_t launch_grad(const GradParams<T>& params, cudaStream_t stream) {
  const int64_t blocks = params.blocks * tiles_of(params.columns, kGradColumns);
  if (const cudaError_t error = check_grid(blocks)) return error;
  auto grid = static_cast<unsigned>(blocks);
  grad_kernel<T><<<grid, kThreads, 0, stream>>>(params);
  if (const cudaError_t error = cudaGetLastError()) return error;
  if (!params.grad_bias) return cudaSuccess;
  grid = static_cast<unsigned>(tiles_of(params.columns, kThreads));
  add_blocks_kernel<T><<<grid, kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

#define PYNEURAL_INSTANTIATE(T)                                               \
  template cudaError_t configure_product(ProductParams<T>*);                  \
  template cudaError_t launch_product(const ProductParams<T>&, cudaStream_t); \
  template void configure_grad(GradParams<T>*);                               \
  template cudaError_t launch_grad(const GradParams<T>&, cudaStream_t);
PYNEURAL_INSTANTIATE(float)
PYNEURAL_INSTANTIATE(double)
PYNEURAL_INSTANTIATE(BFloat16)
PYNEURAL_INSTANTIATE(Float16)

}  // namespace pyneural::dense
