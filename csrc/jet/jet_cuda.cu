// The jet ops on CUDA: each block of threads takes tiles of points through the whole network.
//
// Parameters are copied to shared memory where they leave room for two blocks a multiprocessor.
#include "../common/blocks.cuh"
#include "../common/gradient_product.cuh"
#include "jet_tile.cuh"

namespace pyneural::jet {
namespace {

constexpr int64_t kSharedParameterBytes = 60 << 10;
constexpr int kColumns = kTileN;  // C * tile: one product tile wide

extern __shared__ __align__(16) unsigned char shared_memory[];

// The parameters, copied to shared memory first where params says so.
template <class T>
__device__ const T* stage_parameters(const JetParams<T>& params) {
  if (!params.shared_parameters) return params.parameters;
  T* const to = reinterpret_cast<T*>(shared_memory);
  const int64_t size = params.offset[params.layers];
  for (int64_t i = threadIdx.x; i < size; i += kThreads) to[i] = params.parameters[i];
  __syncthreads();
  return to;
}

template <class T, int order, bool saves_layers>
__device__ BlockTile<T, order, saves_layers> make_tile(const JetParams<T>& params) {
  __shared__ ProductStage<T> stage;
  return {params, stage_parameters(params), params.scratch + blockIdx.x * params.slab, stage};
}

template <class T, int order>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    forward_kernel(const __grid_constant__ JetParams<T> params) {
  auto tile = make_tile<T, order, false>(params);
  const int outputs = params.width[params.layers];
  for_tiles(params.points, params.tile, [&](int64_t first) {
    tile.forward(first);
    for (int k = 0; k < params.plan.outputs; ++k)
      for (int i = threadIdx.x; i < params.tile * outputs; i += kThreads)
        if (const int64_t n = first + i / outputs; n < params.points)
          params.output[(k * params.points + n) * outputs + i % outputs] =
              tile.output(i % outputs, params.plan.output[k])[i / outputs];
    __syncthreads();
  });
}

template <class T, class Tile>
__device__ void clear_grad_output(const JetParams<T>& params, const Tile& tile) {
  const int64_t size = params.width[params.layers] * tile.columns();
  for (int64_t i = threadIdx.x; i < size; i += kThreads) tile.grad_output(0, 0)[i] = T(0);
  __syncthreads();
}

// partial [P] += layer l's parameter gradient, summed over the tile.
template <class T, class Tile>
__device__ void add_parameter_grad(const JetParams<T>& params, Tile& tile, int64_t first, int l,
                                   const T* grad, const T* a, T* partial) {
  const int in = params.width[l], out = params.width[l + 1], points = params.tile;
  const int columns = static_cast<int>(tile.columns());
  T* const to = partial + params.offset[l];
  const auto left = [=](int64_t k, int64_t m) { return grad[m * columns + k]; };
  const auto store = [=](int64_t m, int64_t n, T sum) { to[m * in + n] += sum; };
  if (a) {
    gradient_product<Along::k, Along::k, T>(
        out, in, columns, tile.stage(), left,
        [=](int64_t k, int64_t n) { return a[n * columns + k]; }, store);
  } else {
    gradient_product<Along::k, Along::k, T>(
        out, in, columns, tile.stage(), left,
        [&](int64_t k, int64_t n) {
          const int column = static_cast<int>(k);  // 64 bits would divide several times slower
          return tile.input(first, column / points, column % points, n);
        },
        store);
  }
  add_row_sums(out, points, left, to + int64_t{out} * in);
}

// grad_x of the tile's points: the transposed first layer on the grad of all channels of a jet, of
// points on the value's.
template <class T, class Tile>
__device__ void store_input_grad(const JetParams<T>& params, Tile& tile, int64_t first,
                                 const T* grad) {
  const int inputs = params.width[0];
  const T* const w = tile.weights(0);
  if (params.has_jet_x) {
    const int64_t columns = tile.columns(), all = params.points;
    const int points = params.tile;
    T* const to = params.grad_x;
    block_product<Along::row, Along::row, T>(
        inputs, columns, params.width[1], tile.stage(),
        [=](int64_t k, int64_t m) { return w[k * inputs + m]; },
        [=](int64_t k, int64_t n) { return grad[k * columns + n]; },
        [=](int64_t m, int64_t n, T sum) {
          const int column = static_cast<int>(n);
          const int64_t p = first + column % points;
          if (p < all) to[(column / points * all + p) * inputs + m] = sum;
        });
    return;
  }
  for (int i = threadIdx.x; i < params.tile * inputs; i += kThreads) {
    const int p = i / inputs, d = i % inputs;
    if (first + p >= params.points) continue;
    T sum = T(0);
    for (int64_t o = 0; o < params.width[1]; ++o)
      sum += w[o * inputs + d] * grad[o * tile.columns() + p];
    params.grad_x[(first + p) * inputs + d] = sum;
  }
}

template <class T, int order>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    backward_kernel(const __grid_constant__ JetParams<T> params) {
  auto tile = make_tile<T, order, true>(params);
  const int outputs = params.width[params.layers];
  const int64_t size = params.offset[params.layers];
  T* const partial = params.partial ? params.partial + blockIdx.x * size : nullptr;
  if (partial)
    for (int64_t i = threadIdx.x; i < size; i += kThreads) partial[i] = T(0);
  __syncthreads();
  for_tiles(params.points, params.tile, [&](int64_t first) {
    tile.forward(first);
    clear_grad_output(params, tile);
    for (int k = 0; k < params.plan.outputs; ++k)
      for (int i = threadIdx.x; i < params.tile * outputs; i += kThreads)
        if (const int64_t n = first + i / outputs; n < params.points)
          tile.grad_output(i % outputs, params.plan.output[k])[i / outputs] +=
              params.grad_output[(k * params.points + n) * outputs + i % outputs];
    __syncthreads();
    tile.backward([&](int l, const T* grad, const T* a) {
      if (partial) add_parameter_grad(params, tile, first, l, grad, a, partial);
      if (l == 0 && params.grad_x) store_input_grad(params, tile, first, grad);
    });
  });
}

template <class T, int order>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    jacobian_kernel(const __grid_constant__ JetParams<T> params) {
  auto tile = make_tile<T, order, true>(params);
  const int64_t outputs = params.width[params.layers], size = params.offset[params.layers];
  const int64_t rows = params.plan.outputs * outputs, points = params.tile;
  for_tiles(params.points, params.tile, [&](int64_t first) {
    tile.forward(first);
    for (int64_t row = 0; row < rows; ++row) {
      clear_grad_output(params, tile);
      T* const one = tile.grad_output(row % outputs, params.plan.output[row / outputs]);
      for (int64_t p = threadIdx.x; p < points; p += kThreads) one[p] = T(1);
      __syncthreads();
      tile.backward([&](int l, const T* grad, const T* a) {
        const int64_t in = params.width[l], count = params.width[l + 1] * (in + 1);
        const int64_t columns = tile.columns();
        for (int64_t i = threadIdx.x; i < points * count; i += kThreads) {
          const int64_t p = i / count, e = i % count;
          if (first + p >= params.points) continue;
          const bool is_bias = e >= count - params.width[l + 1];
          const int64_t o = is_bias ? e - (count - params.width[l + 1]) : e / in;
          T sum = is_bias ? grad[o * columns + p] : T(0);
          for (int64_t c = 0; c < (is_bias ? 0 : params.plan.channels); ++c) {
            const T input =
                a ? a[e % in * columns + c * points + p] : tile.input(first, c, p, e % in);
            sum += grad[o * columns + c * points + p] * input;
          }
          params.output[((first + p) * rows + row) * size + params.offset[l] + e] = sum;
        }
      });
    }
  });
}

template <class T>
cudaError_t launch(void (*kernel)(JetParams<T>), const JetParams<T>& params, cudaStream_t stream) {
  const size_t shared = params.shared_parameters ? sizeof(T) * params.offset[params.layers] : 0;
  return pyneural::launch(kernel, params.blocks, kThreads, shared, stream, params);
}

}  // namespace

template <class T>
cudaError_t JetParams<T>::configure(bool saves_layers, bool sums_gradients) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  const int64_t size = offset[layers];
  shared_parameters = size * static_cast<int64_t>(sizeof(T)) <= kSharedParameterBytes;
  tile = kColumns / plan.channels > 1 ? kColumns / plan.channels : 1;
  slab = slab_elements(*this, saves_layers);
  const int64_t bytes = (slab + (sums_gradients ? size : 0)) * sizeof(T);
  blocks = blocks_for(tiles_of(points, tile), bytes, device);
  return cudaSuccess;
}

template <class T>
cudaError_t JetParams<T>::launch_forward(cudaStream_t stream) const {
  return launch<T>(plan.order <= 2 ? forward_kernel<T, 2> : forward_kernel<T, kMaxOrder>, *this,
                   stream);
}

template <class T>
cudaError_t JetParams<T>::launch_backward(cudaStream_t stream) const {
  if (const cudaError_t error = launch<T>(
          plan.order <= 2 ? backward_kernel<T, 2> : backward_kernel<T, kMaxOrder>, *this, stream))
    return error;
  if (!partial) return cudaSuccess;
  return launch_add_parts(partial, blocks, offset[layers], grad_parameters, stream);
}

template <class T>
cudaError_t JetParams<T>::launch_jacobian(cudaStream_t stream) const {
  return launch<T>(plan.order <= 2 ? jacobian_kernel<T, 2> : jacobian_kernel<T, kMaxOrder>, *this,
                   stream);
}

template struct JetParams<float>;
template struct JetParams<double>;

}  // namespace pyneural::jet
