// The dense layer on CUDA: products on tensor cores with bias and activation in their epilogue.
//
// A block computes a tile of the result. Where the tiles do not occupy the device, as in the
// gradient of a small weight over many rows, the depth is split too, and a second kernel adds the
// parts in order: the same bits on every run.
#include "../common/elements.cuh"
#include "../common/launch.cuh"
#include "../common/scalar_math.h"
#include "product_tile.cuh"

namespace pyneural::dense {
namespace {

constexpr int64_t kShortestSplit = 512;  // of the depth
constexpr int64_t kGradRows = 256;       // of a block that sums grad_bias
constexpr int kGradColumns = 32;

template <class T, class Places, class To>
__device__ void store_four(const ProductParams<T>& params, const Places& at,
                           const Four<Accumulator<T>>& four, To* to) {
  PYNEURAL_UNROLL
  for (int q = 0; q < 4; ++q)
    if (at.are_in(params, q)) store(four.values[q], to + at.row(q) * params.columns + at.column(q));
}

// y and z of four elements from their sums. One function for all places of an unrolled loop.
template <class T, class Places>
[[gnu::noinline]] __device__ void finish(const ProductParams<T>& params, Places at,
                                         Four<Accumulator<T>> z) {
  PYNEURAL_UNROLL
  for (int q = 0; q < 4; ++q)
    if (params.bias && at.are_in(params, q)) z.values[q] += load(params.bias + at.column(q));
  if (params.z) store_four(params, at, z, params.z);
  if (params.activation != ActivationKind::linear) z = activate(params.activation, z);
  store_four(params, at, z, params.y);
}

// Of a multiprocessor, as far as the registers allow.
template <class T>
constexpr int kBlocksAtOnce = sizeof(T) == 2 ? 2 : 1;

template <Along along_a, Along along_b, class T>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce<T>)
    product_kernel(const __grid_constant__ ProductParams<T> params) {
  __shared__ Stage stages[kStages];
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
      params, tile / across * kProductRows, tile % across * kProductColumns, k_begin, k_end, stages,
      [&](const auto& at, const Four<Accumulator<T>>& sums) {
        if (params.splits > 1)
          store_four(params, at, sums, params.partial + split * params.rows * params.columns);
        else
          finish(params, at, sums);
      });
}

template <class T>
__global__ void add_splits_kernel(const __grid_constant__ ProductParams<T> params) {
  const int64_t size = params.rows * params.columns, across = tiles_of(params.columns, 4);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= params.rows * across) return;
  const Places<true> at{i / across, i % across * 4};
  Four<Accumulator<T>> sums = {};
  for (int64_t s = 0; s < params.splits; ++s) PYNEURAL_UNROLL
  for (int q = 0; q < 4; ++q)
    if (at.are_in(params, q))
      sums.values[q] += params.partial[s * size + at.row(q) * params.columns + at.column(q)];
  finish(params, at, sums);
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
                       [&](auto kind) { grad = multiply_by_slope<decltype(kind)>(grad, saved); });
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

}  // namespace

template <class T>
cudaError_t ProductParams<T>::configure() {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  const int64_t tiles = tiles_of(rows, kProductRows) * tiles_of(columns, kProductColumns);
  const int64_t idle = device.multiprocessors / (tiles > 0 ? tiles : 1);
  const int64_t most = depth / kShortestSplit;
  const int64_t parts = idle < most ? idle : most;
  splits = static_cast<int32_t>(parts > 1 ? parts : 1);
  return cudaSuccess;
}

template <class T>
cudaError_t ProductParams<T>::launch(cudaStream_t stream) const {
  const bool a_along_k = a.k_stride == 1, b_along_k = b.k_stride == 1;
  const auto kernel = a_along_k && b_along_k ? product_kernel<Along::k, Along::k, T>
                      : a_along_k            ? product_kernel<Along::k, Along::row, T>
                      : b_along_k            ? product_kernel<Along::row, Along::k, T>
                                             : product_kernel<Along::row, Along::row, T>;
  const int64_t tiles = tiles_of(rows, kProductRows) * tiles_of(columns, kProductColumns);
  if (const cudaError_t error =
          pyneural::launch(kernel, tiles * splits, kThreads, 0, stream, *this))
    return error;
  if (splits == 1) return cudaSuccess;
  return pyneural::launch(add_splits_kernel<T>, tiles_of(rows * tiles_of(columns, 4), kThreads),
                          kThreads, 0, stream, *this);
}

template <class T>
void GradParams<T>::configure() {
  blocks = tiles_of(rows, kGradRows);
}

template <class T>
cudaError_t GradParams<T>::launch(cudaStream_t stream) const {
  const int64_t grid = blocks * tiles_of(columns, kGradColumns);
  if (const cudaError_t error = pyneural::launch(grad_kernel<T>, grid, kThreads, 0, stream, *this))
    return error;
  if (!grad_bias) return cudaSuccess;
  return pyneural::launch(add_blocks_kernel<T>, tiles_of(columns, kThreads), kThreads, 0, stream,
                          *this);
}

template struct ProductParams<float>;
template struct ProductParams<double>;
template struct ProductParams<BFloat16>;
template struct ProductParams<Float16>;
template struct GradParams<float>;
template struct GradParams<double>;
template struct GradParams<BFloat16>;
template struct GradParams<Float16>;

}  // namespace pyneural::dense
