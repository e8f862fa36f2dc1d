// A layer of an autoregressive flow on CUDA: each block of threads takes tiles of points through
// the masked network and the transforms, once units and weights are sorted by degree.
#include "autoregressive_tile.cuh"

namespace pyneural::autoregressive {
namespace {

constexpr int64_t kMostFeatures = 16;  // of a chunk in global memory

extern __shared__ __align__(16) unsigned char shared_memory[];

template <class T, class Transform>
__device__ const Transform& transform_of(const AutoregressiveParams<T>& params) {
  if constexpr (std::is_same_v<Transform, Affine<T>>)
    return params.affine;
  else
    return params.spline;
}

template <class T, class Transform>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const __grid_constant__ AutoregressiveParams<T> params) {
  BlockTile<T, Transform> tile(params, transform_of<T, Transform>(params),
                               reinterpret_cast<T*>(shared_memory));
  for_tiles(params.rows, kPoints, [&](int64_t first) { tile.forward(first); });
}

template <class T, class Transform>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ AutoregressiveParams<T> params) {
  BlockTile<T, Transform> tile(params, transform_of<T, Transform>(params),
                               reinterpret_cast<T*>(shared_memory));
  T* const partial = params.partial ? params.partial + blockIdx.x * params.gradient_size : nullptr;
  if (partial)
    for (int64_t i = threadIdx.x; i < params.gradient_size; i += kThreads) partial[i] = T(0);
  __syncthreads();
  for_tiles(params.rows, kPoints, [&](int64_t first) { tile.backward(first, partial); });
}

// With room for the parameters of `chunk` features.
template <class T>
Slab slab_of(const AutoregressiveParams<T>& params, int64_t chunk, bool backward) {
  Slab slab;
  const auto place = [&](int64_t rows) {
    slab.size += rows * kPoints;
    return slab.size - rows * kPoints;
  };
  const bool saves_z = backward && needs_preactivation(params.activation);
  for (int t = 0; t < params.layers; ++t) {
    slab.a[t] = place(params.width[t]);
    slab.z[t] = saves_z && t > 0 ? place(params.width[t]) : slab.a[t];
    if (backward) slab.grad[t] = place(params.width[t]);
  }
  slab.parameters = place(chunk * params.parameters_of_feature);
  slab.working =
      backward && !params.is_affine ? place(chunk * params.parameters_of_feature) : slab.parameters;
  if (!backward) {
    slab.ladj = place(chunk);
    slab.total_ladj = place(1);
  }
  return slab;
}

template <class T>
size_t shared_bytes(const AutoregressiveParams<T>& params) {
  return params.shared_slab ? sizeof(T) * params.slab.size : 0;
}

}  // namespace

template <class T>
cudaError_t AutoregressiveParams<T>::configure(bool backward) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  units = sorted_size = 0;
  for (int t = 0; t <= layers; ++t) {
    level_at[t] = units;
    units += units_of(t);
  }
  for (int l = 0; l < layers; ++l) {
    weight_at[l] = sorted_size;
    sorted_size += whole_quads(width[l + 1] * (whole_quads(width[l]) + 1));
  }
  gradient_size = sorted_size;
  for (int l = 0; backward && l < layers; ++l) {
    transposed_at[l] = sorted_size;
    sorted_size += width[l] * whole_quads(width[l + 1]);
  }

  const auto bytes = [&](int64_t features) {
    return slab_of(*this, features, backward).size * static_cast<int64_t>(sizeof(T));
  };
  chunk = transformed();
  while (chunk > 1 && bytes(chunk) > device.shared_bytes) --chunk;
  shared_slab = bytes(chunk) <= device.shared_bytes;
  if (!shared_slab) chunk = transformed() < kMostFeatures ? transformed() : kMostFeatures;
  slab = slab_of(*this, chunk, backward);
  const int64_t gradient = backward ? gradient_size * static_cast<int64_t>(sizeof(T)) : 0;
  blocks = blocks_for(tiles_of(rows, kPoints), gradient + (shared_slab ? 0 : bytes(chunk)), device);
  return cudaSuccess;
}

template <class T>
cudaError_t AutoregressiveParams<T>::launch_forward(cudaStream_t stream) const {
  if (const cudaError_t error = launch_sorting(*this, stream)) return error;
  const auto kernel =
      is_affine ? forward_kernel<T, Affine<T>> : forward_kernel<T, spline::Spline<T>>;
  return launch(kernel, blocks, kThreads, shared_bytes(*this), stream, *this);
}

template <class T>
cudaError_t AutoregressiveParams<T>::launch_backward(cudaStream_t stream) const {
  if (const cudaError_t error = launch_sorting(*this, stream)) return error;
  const auto kernel =
      is_affine ? backward_kernel<T, Affine<T>> : backward_kernel<T, spline::Spline<T>>;
  if (const cudaError_t error =
          launch(kernel, blocks, kThreads, shared_bytes(*this), stream, *this))
    return error;
  if (!partial) return cudaSuccess;
  if (const cudaError_t error = launch_add_parts(partial, blocks, gradient_size, total, stream))
    return error;
  return launch_unsorting(*this, stream);
}

template struct AutoregressiveParams<float>;
template struct AutoregressiveParams<double>;

}  // namespace pyneural::autoregressive
