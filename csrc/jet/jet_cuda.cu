// The jet ops on CUDA: each block of threads takes tiles of points through the whole network, with
// all channels of a point in one tile.
#include "../common/tile_choice.cuh"
#include "jet_tile.cuh"

namespace pyneural::jet {
namespace {

extern __shared__ __align__(16) unsigned char shared_memory[];

template <class T, bool saves_layers>
__device__ BlockTile<T, saves_layers> make_tile(const JetParams<T>& params) {
  __shared__ WeightStage<T> stage;
  T* const slab = params.tile.shared_slab ? reinterpret_cast<T*>(shared_memory)
                                          : params.scratch + blockIdx.x * params.tile.slab;
  return {params, slab, stage};
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    forward_kernel(const __grid_constant__ JetParams<T> params) {
  auto tile = make_tile<T, false>(params);
  const int outputs = params.layers.outputs();
  for_tiles(params.points, params.tile_points, [&](int64_t first) {
    tile.forward(first, 0);
    for (int k = 0; k < params.plan.outputs; ++k)
      for_pairs(params.tile_points, outputs, [&](int p, int o) {
        if (const int64_t n = first + p; n < params.points)
          params.output[(k * params.points + n) * outputs + o] =
              tile.output(o, params.plan.output[k])[p];
      });
  });
}

// partial [P] += layer l's parameter gradient, summed over the tile.
template <class T>
__device__ void add_parameter_grad(const JetParams<T>& params, int64_t stride, int l, const T* grad,
                                   const T* a, T* partial) {
  const int in = params.layers.width[l], out = params.layers.width[l + 1];
  T* const to = partial + params.layers.offset[l];
  add_weight_gradient(params.tile.columns, grad, out, a, in, to);
  add_unit_sums(grad, stride, out, params.tile_points, to + int64_t{out} * in);
}

// grad_x of the tile's points: the transposed first layer on the grad of all channels of a jet, of
// points on the value's.
template <class T, class Tile>
__device__ void store_input_grad(const JetParams<T>& params, Tile& tile, int64_t first,
                                 const T* grad) {
  const int inputs = params.layers.inputs(), points = params.tile_points;
  const int used = params.has_jet_x ? params.plan.channels * points : points;
  layer_product<true>(params.tile.columns, tile.weights(0), grad, tile.chunks(), tile.weights(0),
                      [&](const auto& place, const Four<T>& sums) {
                        PYNEURAL_UNROLL
                        for (int s = 0; s < 4; ++s) {
                          const int column = place.column(s), c = column / points;
                          const int64_t n = first + (column - c * points);
                          if (place.is_inside(s) && column < used && n < params.points)
                            params.grad_x[(c * params.points + n) * inputs + place.unit(s)] =
                                sums.values[s];
                        }
                      });
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    backward_kernel(const __grid_constant__ JetParams<T> params) {
  auto tile = make_tile<T, true>(params);
  const int outputs = params.layers.outputs(), last = params.layers.count - 1;
  const int64_t size = params.layers.parameters();
  T* const partial = params.partial ? params.partial + blockIdx.x * size : nullptr;
  if (partial)
    for (int64_t i = threadIdx.x; i < size; i += kThreads) partial[i] = T(0);
  for_tiles(params.points, params.tile_points, [&](int64_t first) {
    __syncthreads();  // the tile before is done with its values
    tile.forward(first, last);
    tile.clear_grad_output();
    __syncthreads();
    for (int k = 0; k < params.plan.outputs; ++k)
      for_pairs(params.tile_points, outputs, [&](int p, int o) {
        if (const int64_t n = first + p; n < params.points)
          tile.grad_output(o, params.plan.output[k])[p] +=
              params.grad_output[(k * params.points + n) * outputs + o];
      });
    tile.backward(first, 0, [&](int l, const T* grad, const T* a) {
      if (partial) add_parameter_grad(params, tile.stride(), l, grad, a, partial);
      if (l == 0 && params.grad_x) store_input_grad(params, tile, first, grad);
    });
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    jacobian_kernel(const __grid_constant__ JetParams<T> params) {
  auto tile = make_tile<T, true>(params);
  const int outputs = params.layers.outputs(), last = params.layers.count - 1;
  const int points = params.tile_points, channels = params.plan.channels;
  const int64_t size = params.layers.parameters(), rows = int64_t{params.plan.outputs} * outputs;
  for_tiles(params.points, points, [&](int64_t first) {
    const int count =
        params.points - first < points ? static_cast<int>(params.points - first) : points;
    __syncthreads();  // the tile before is done with its values
    tile.forward(first, last);
    for (int k = 0; k < params.plan.outputs; ++k)
      for (int output = 0; output < outputs; ++output) {
        const int64_t row = int64_t{k} * outputs + output;
        __syncthreads();  // the row before is done with its gradients
        tile.clear_grad_output();
        __syncthreads();
        T* const one = tile.grad_output(output, params.plan.output[k]);
        for (int p = threadIdx.x; p < points; p += kThreads) one[p] = T(1);
        tile.backward(first, row + 1 < rows ? last : 0, [&](int l, const T* grad, const T* a) {
          const int in = params.layers.width[l], out = params.layers.width[l + 1];
          for (int p = 0; p < count; ++p) {
            T* const of_weights =
                params.output + ((first + p) * rows + row) * size + params.layers.offset[l];
            for_pairs(out, in, [&](int o, int i) {
              T sum = T(0);
              for (int c = 0; c < channels; ++c)
                sum += grad[o * tile.stride() + c * points + p] *
                       a[i * tile.stride() + c * points + p];
              of_weights[int64_t{o} * in + i] = sum;
            });
            for (int o = threadIdx.x; o < out; o += kThreads)
              of_weights[int64_t{out} * in + o] = grad[o * tile.stride() + p];
          }
        });
      }
  });
}

template <class T>
using Kernel = void (*)(JetParams<T>);

template <class T>
Kernel<T> kernel_of(Pass pass) {
  if (pass == Pass::forward) return forward_kernel<T>;
  return pass == Pass::backward ? backward_kernel<T> : jacobian_kernel<T>;
}

template <class T>
cudaError_t launch(Pass pass, const JetParams<T>& params, cudaStream_t stream) {
  const size_t shared = params.tile.shared_slab ? sizeof(T) * params.tile.slab : 0;
  return pyneural::launch(kernel_of<T>(pass), params.tile.blocks, kThreads, shared, stream, params);
}

}  // namespace

template <class T>
cudaError_t JetParams<T>::configure(Pass pass, bool sums_gradients) {
  const int64_t gradient = sums_gradients ? layers.parameters() * sizeof(T) : 0;
  const TiledWork work = {points, plan.channels, slab_units(layers, pass != Pass::forward),
                          gradient};
  if (const cudaError_t error = choose_tiles<T>(kernel_of<T>(pass), work, &tile)) return error;
  tile_points = tile.columns / plan.channels;
  return cudaSuccess;
}

template <class T>
cudaError_t JetParams<T>::launch_forward(cudaStream_t stream) const {
  return launch(Pass::forward, *this, stream);
}

template <class T>
cudaError_t JetParams<T>::launch_backward(cudaStream_t stream) const {
  if (const cudaError_t error = launch(Pass::backward, *this, stream)) return error;
  if (!partial) return cudaSuccess;
  return launch_add_parts(partial, tile.blocks, layers.parameters(), grad_parameters, stream);
}

template <class T>
cudaError_t JetParams<T>::launch_jacobian(cudaStream_t stream) const {
  return launch(Pass::jacobian, *this, stream);
}

template struct JetParams<float>;
template struct JetParams<double>;

}  // namespace pyneural::jet
