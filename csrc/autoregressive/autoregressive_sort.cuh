// The units of the masked network sorted by degree on CUDA, and its weights with them.
//
// A unit sees the units below it of a degree not above its own. Sorted, it sees the leading ones;
// see conditioner.h, which does this on the CPU. Degrees are counted rather than sorted: the host
// does not know them, and units are few.
#pragma once

#include <limits>

#include "../common/blocks.cuh"
#include "autoregressive_cuda.h"

namespace pyneural::autoregressive {

constexpr int kQuad = 4;  // elements of a row that are read at once
constexpr int kBlocksOfLayer = 32;

__host__ __device__ inline int64_t whole_quads(int64_t n) {
  return (n + kQuad - 1) / kQuad * kQuad;
}

template <class T>
__device__ int64_t* index_of(const AutoregressiveParams<T>& params, int level, int kind) {
  return params.index + kind * params.units + params.level_at[level];
}

// The i-th feature that stays, or that does not.
template <class T>
__device__ int64_t feature_of(const AutoregressiveParams<T>& params, int64_t i, bool stays) {
  int64_t d = 0;
  for (; d + 1 < params.features; ++d)
    if ((params.degrees[d] < 0) == stays && i-- == 0) break;
  return d;
}

// The column of an input or of a transformed feature in [x, context].
template <class T>
__device__ int64_t column_of(const AutoregressiveParams<T>& params, int level, int64_t u) {
  if (level == 0 && u >= params.features_seen())
    return params.features + u - params.features_seen();
  return params.is_coupling() ? feature_of(params, u, level == 0) : u;
}

// The degree of a unit: that of a feature is one more as an input than as an output.
template <class T>
__device__ int64_t degree_of(const AutoregressiveParams<T>& params, int level, int64_t u) {
  if (level == 0 || level == params.layers) {
    const int64_t column = column_of(params, level, u);
    return column < params.features ? params.degrees[column] + (level == 0) : 0;
  }
  int64_t before = params.features;
  for (int l = 1; l < level; ++l) before += params.width[l];
  return params.degrees[before + u];
}

// Whether as many features stay as the network has inputs for, which the host does not know.
template <class T>
__device__ bool is_consistent(const AutoregressiveParams<T>& params) {
  int64_t staying = 0;
  for (int64_t d = 0; d < params.features; ++d) staying += params.degrees[d] < 0;
  return !params.is_coupling() || staying == params.features_seen();
}

// A block sorts a level.
template <class T>
__global__ void __launch_bounds__(kThreads)
    sort_kernel(const __grid_constant__ AutoregressiveParams<T> params) {
  using P = AutoregressiveParams<T>;
  const int level = static_cast<int>(blockIdx.x);
  const int64_t n = params.units_of(level);
  const auto count = [&](int of, const auto& counts) {
    int64_t sum = 0;
    for (int64_t v = 0; v < params.units_of(of); ++v) sum += counts(degree_of(params, of, v), v);
    return sum;
  };
  const bool has_column = level == 0 || level == params.layers;
  for (int64_t u = threadIdx.x; u < n; u += kThreads) {
    const int64_t d = degree_of(params, level, u);
    const int64_t place =
        count(level, [&](int64_t e, int64_t v) { return e < d || (e == d && v < u); });
    index_of(params, level, P::source)[place] = u;
    index_of(params, level, P::degree)[place] = d;
    if (has_column) index_of(params, level, P::column)[place] = column_of(params, level, u);
    if (level > 0)
      index_of(params, level, P::visible)[place] =
          count(level - 1, [&](int64_t e, int64_t) { return e <= d; });
    if (level < params.layers)
      index_of(params, level, P::first)[place] =
          count(level + 1, [&](int64_t e, int64_t) { return e < d; });
    if (level == params.layers)
      index_of(params, level, P::input)[place] =
          params.is_coupling()
              ? -1
              : count(0, [&](int64_t e, int64_t v) { return e < d + 1 || (e == d + 1 && v < u); });
  }
}

// body(layer, sorted row, sorted column, row, column) for each weight; the column of a bias is -1.
template <class T, class Body>
__device__ void for_parameters(const AutoregressiveParams<T>& params, const Body& body) {
  using P = AutoregressiveParams<T>;
  const int l = static_cast<int>(blockIdx.x % params.layers);
  const int64_t in = params.width[l], out = params.width[l + 1], columns = in + 1;
  const int64_t each = l + 1 == params.layers ? params.parameters_of_feature : 1;
  const int64_t *const inputs = index_of(params, l, P::source), *const outputs = index_of(
                                                                    params, l + 1, P::source);
  const int64_t blocks = gridDim.x / params.layers;
  for (int64_t i = blockIdx.x / params.layers * kThreads + threadIdx.x; i < out * columns;
       i += blocks * kThreads) {
    const int64_t m = i / columns, k = i % columns - 1;
    body(l, m, k, outputs[m / each] * each + m % each, k < 0 ? -1 : inputs[k]);
  }
}

// Whether a sorted output of a layer sees a sorted input.
template <class T>
__device__ bool sees(const AutoregressiveParams<T>& params, int l, int64_t m, int64_t k) {
  const int64_t unit = l + 1 == params.layers ? m / params.parameters_of_feature : m;
  return k < index_of(params, l + 1, AutoregressiveParams<T>::visible)[unit];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sort_weights_kernel(const __grid_constant__ AutoregressiveParams<T> params) {
  const T factor = is_consistent(params) ? T(1) : std::numeric_limits<T>::quiet_NaN();
  for_parameters(params, [&](int l, int64_t m, int64_t k, int64_t row, int64_t column) {
    const int64_t in = params.width[l], out = params.width[l + 1];
    const T* const from = params.parameters + params.offset[l];
    T* const to = params.sorted + params.weight_at[l];
    if (k < 0) {
      to[out * whole_quads(in) + m] = factor * from[out * in + row];
      return;
    }
    const T weight = sees(params, l, m, k) ? from[row * in + column] : T(0);
    to[m * whole_quads(in) + k] = weight;
    if (params.seen) params.sorted[params.transposed_at[l] + k * whole_quads(out) + m] = weight;
  });
}

// The gradient of all parameters where they were before they were sorted; 0 where masked.
template <class T>
__global__ void __launch_bounds__(kThreads)
    unsort_gradient_kernel(const __grid_constant__ AutoregressiveParams<T> params) {
  for_parameters(params, [&](int l, int64_t m, int64_t k, int64_t row, int64_t column) {
    const int64_t in = params.width[l], out = params.width[l + 1];
    const T* const from = params.total + params.weight_at[l];
    T* const to = params.grad_parameters + params.offset[l];
    if (k < 0)
      to[out * in + row] = from[out * whole_quads(in) + m];
    else
      to[row * in + column] = sees(params, l, m, k) ? from[m * whole_quads(in) + k] : T(0);
  });
}

template <class T>
cudaError_t launch_sorting(const AutoregressiveParams<T>& params, cudaStream_t stream) {
  if (const cudaError_t error =
          launch(sort_kernel<T>, params.layers + 1, kThreads, 0, stream, params))
    return error;
  return launch(sort_weights_kernel<T>, params.layers * kBlocksOfLayer, kThreads, 0, stream,
                params);
}

template <class T>
cudaError_t launch_unsorting(const AutoregressiveParams<T>& params, cudaStream_t stream) {
  return launch(unsort_gradient_kernel<T>, params.layers * kBlocksOfLayer, kThreads, 0, stream,
                params);
}

}  // namespace pyneural::autoregressive
