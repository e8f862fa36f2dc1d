// The Jacobian of residuals on CUDA: as jacobian_kernel of jet_cuda.cu, but with the residuals'
// derivatives as the gradient of the outputs, so that an equation takes one pass back instead of
// one for each derivative.
#include "../common/tile_choice.cuh"
#include "jet_residual_cuda.h"
#include "jet_tile.cuh"
#include "residual_point.cuh"

namespace pyneural::jet {
namespace {

extern __shared__ __align__(16) unsigned char shared_memory[];

// One point of a tile, as PointProgram sees it.
template <class T, class Tile>
struct TilePoint {
  const ResidualJacobianParams<T>& params;
  const Tile& tile;
  int place;        // in the tile
  int64_t point;    // of all; beyond the last it is that one again
  T* coefficients;  // its column of J^T, from the first coefficient on; null: beyond the last

  __device__ T output(int64_t o, int c) const { return tile.output(static_cast<int>(o), c)[place]; }
  __device__ T input(int d) const { return params.jet.x[point * params.jet.layers.inputs() + d]; }
  __device__ T coefficient(int q) const { return params.coefficients[q]; }
  __device__ T column(int r) const { return params.columns[r * params.jet.points + point]; }
  __device__ void add_to_output(int64_t o, int c, T grad) const {
    tile.grad_output(static_cast<int>(o), c)[place] += grad;
  }
  __device__ void add_to_coefficient(int q, T grad) const {
    if (coefficients) coefficients[q * params.row_stride] += grad;
  }
  __device__ void clear_coefficients() const {
    for (int64_t q = 0; coefficients && q < params.coefficient_count; ++q)
      coefficients[q * params.row_stride] = T(0);
  }
};

// Layer l's rows of J^T for the first `count` points of a tile, from the grad of its outputs and
// its inputs a; `to` is the place of its first weight. A thread has 4 x 4 weights of a point, and
// neighbours have points side by side.
template <class T>
__device__ void store_point_grads(const ResidualJacobianParams<T>& params, int stride, int l,
                                  const T* grad, const T* a, int count, T* to) {
  constexpr int kSide = 4;
  const int in = params.jet.layers.width[l], out = params.jet.layers.width[l + 1];
  const int points = params.jet.tile_points, channels = params.jet.plan.channels;
  const int across = (in + kSide - 1) / kSide, down = (out + kSide - 1) / kSide;
  for_pairs(down * across, points, [&](int block, int p) {
    const int o0 = block / across * kSide, i0 = block % across * kSide;
    const T *left_at = grad + int64_t{o0} * stride + p, *right_at = a + int64_t{i0} * stride + p;
    int left_row[kSide], right_row[kSide];  // beyond the last, the last again
    PYNEURAL_UNROLL
    for (int s = 0; s < kSide; ++s) {
      left_row[s] = (o0 + s < out ? s : out - 1 - o0) * stride;
      right_row[s] = (i0 + s < in ? s : in - 1 - i0) * stride;
    }
    T sum[kSide][kSide] = {};
#pragma unroll 1
    for (int c = 0; c < channels; ++c, left_at += points, right_at += points) {
      T left[kSide], right[kSide];
      PYNEURAL_UNROLL
      for (int s = 0; s < kSide; ++s) {
        left[s] = left_at[left_row[s]];
        right[s] = right_at[right_row[s]];
      }
      PYNEURAL_UNROLL
      for (int q = 0; q < kSide; ++q) PYNEURAL_UNROLL
      for (int j = 0; j < kSide; ++j) sum[q][j] += left[q] * right[j];
    }
    PYNEURAL_UNROLL
    for (int q = 0; q < kSide; ++q) PYNEURAL_UNROLL
    for (int j = 0; j < kSide; ++j)
      if (p < count && o0 + q < out && i0 + j < in)
        to[(int64_t{o0 + q} * in + i0 + j) * params.row_stride + p] = sum[q][j];
  });
  for_pairs(out, points, [&](int o, int p) {
    if (p < count)
      to[(int64_t{out} * in + o) * params.row_stride + p] = grad[int64_t{o} * stride + p];
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    residual_jacobian_kernel(const __grid_constant__ ResidualJacobianParams<T> params) {
  const JetParams<T>& jet = params.jet;
  __shared__ WeightStage<T> stage;
  T* const slab = jet.tile.shared_slab ? reinterpret_cast<T*>(shared_memory)
                                       : jet.scratch + blockIdx.x * jet.tile.slab;
  BlockTile<T, true> tile(jet, slab, stage);
  const int points = jet.tile_points, last = jet.layers.count - 1;
  const int place = static_cast<int>(threadIdx.x);
  T* const value = slab + slab_units(jet.layers, true) * tile.stride() + place;
  const PointProgram<T> program{params.steps, params.values, value,
                                value + int64_t{params.values} * points, points};
  for_tiles(params.count, points, [&](int64_t tile_first) {
    const int64_t first = params.first + tile_first, left = params.count - tile_first;
    const int count = left < points ? static_cast<int>(left) : points;
    const int64_t n = first + place < jet.points ? first + place : jet.points - 1;
    TilePoint<T, decltype(tile)> point{params, tile, place, n, nullptr};
    __syncthreads();  // the tile before is done with its values
    tile.forward(first, last);
    if (place < points) program.forward(point);
    for (int e = 0; e < params.equations; ++e) {
      const int64_t at = e * params.equation_stride + tile_first;
      __syncthreads();  // the equation before is done with its gradients
      tile.clear_grad_output();
      __syncthreads();
      if (place < points) {
        const int64_t residual = params.residuals[e];
        if (place < count) {
          params.r[at + place] = value[residual * points];
          point.coefficients =
              params.jacobian + jet.layers.parameters() * params.row_stride + at + place;
        }
        point.clear_coefficients();
        program.backward(residual, point);
      }
      tile.backward(
          first, e + 1 < params.equations ? last : 0, [&](int l, const T* grad, const T* a) {
            store_point_grads(params, static_cast<int>(tile.stride()), l, grad, a, count,
                              params.jacobian + jet.layers.offset[l] * params.row_stride + at);
          });
    }
  });
}

}  // namespace

template <class T>
cudaError_t ResidualJacobianParams<T>::configure(int64_t points) {
  const int channels = jet.plan.channels;
  // After the units of the network, values and gradients of the program at a tile's points.
  const int64_t units = slab_units(jet.layers, true) + tiles_of(2 * int64_t{values}, channels);
  const TiledWork work = {points, channels, units, 0};
  if (const cudaError_t error = choose_tiles<T>(residual_jacobian_kernel<T>, work, &jet.tile))
    return error;
  jet.tile_points = jet.tile.columns / channels;
  return cudaSuccess;
}

template <class T>
cudaError_t ResidualJacobianParams<T>::launch(cudaStream_t stream) const {
  const size_t shared = jet.tile.shared_slab ? sizeof(T) * jet.tile.slab : 0;
  const int64_t tiles = tiles_of(count, jet.tile_points);
  const int64_t blocks = tiles < jet.tile.blocks ? tiles : jet.tile.blocks;
  return pyneural::launch(residual_jacobian_kernel<T>, blocks, kThreads, shared, stream, *this);
}

template struct ResidualJacobianParams<float>;
template struct ResidualJacobianParams<double>;

}  // namespace pyneural::jet
