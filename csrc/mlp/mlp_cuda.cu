// The mlp ops on CUDA: each block of threads takes tiles of rows through the whole network.
//
// What a tile's layers give stays in shared memory where it fits: two layers in turn in the
// forward; in the backward, which computes the tile again, all layers and two gradients. Networks
// too large for that have it in global memory. Weights pass through shared memory in chunks.
#include "../common/activate.cuh"
#include "../common/blocks.cuh"
#include "../common/gradient_product.cuh"
#include "../common/scalar_math.h"
#include "mlp_cuda.h"

namespace pyneural::mlp {
namespace {

constexpr int64_t kTile = kTileN;           // rows of a tile: one product tile wide
constexpr int64_t kStaticBytes = 32 << 10;  // more than the stage of a product

extern __shared__ __align__(16) unsigned char shared_memory[];

// One tile of rows on its way through the network. A layer's result is [width][kTile].
template <class T>
class BlockTile {
 public:
  __device__ BlockTile(const MlpParams<T>& params, ProductStage<T>& stage)
      : params_(params),
        stage_(stage),
        slab_(params.shared_slab ? reinterpret_cast<T*>(shared_memory)
                                 : params.scratch + blockIdx.x * params.slab) {}

  // Calls use(l, o, row, z, value) for every element of every layer's result; `to(l)` is where the
  // values go, or null where they are not needed.
  template <class To, class Use>
  __device__ void forward(int64_t first, const To& to, const Use& use) {
    for (int l = 0; l < params_.layers; ++l) {
      const int64_t in = params_.width[l], out = params_.width[l + 1];
      const T* const w = weights(l);
      const T* const bias = w + out * in;
      T* const values = to(l);
      const auto left = [=](int64_t k, int64_t m) { return w[m * in + k]; };
      const auto store = [&](int64_t m, int64_t n, int,
                             const T(&sums)[4]) {  // kTile is whole fours
        Four<T> z;
        PYNEURAL_UNROLL
        for (int q = 0; q < 4; ++q) z.values[q] = sums[q] + bias[m];
        const Four<T> f = activate(params_.activation(l), z);
        PYNEURAL_UNROLL
        for (int q = 0; q < 4; ++q) {
          if (values) values[m * kTile + n + q] = f.values[q];
          use(l, m, n + q, z.values[q], f.values[q]);
        }
      };
      if (l == 0) {
        block_product_in_fours<Along::k, Along::k, T>(
            out, kTile, in, stage_, left, [&](int64_t k, int64_t n) { return input(first + n, k); },
            store);
      } else {
        const T* const before = to(l - 1);
        block_product_in_fours<Along::k, Along::row, T>(
            out, kTile, in, stage_, left,
            [=](int64_t k, int64_t n) { return before[k * kTile + n]; }, store);
      }
    }
  }

  // Rows beyond the last are those of the last.
  __device__ T input(int64_t row, int64_t k) const {
    const int64_t last = params_.rows - 1;
    return params_.x[(row < last ? row : last) * params_.width[0] + k];
  }
  __device__ const T* weights(int l) const { return params_.parameters + params_.offset[l]; }
  __device__ T* slab() const { return slab_; }
  __device__ ProductStage<T>& stage() const { return stage_; }

 private:
  const MlpParams<T>& params_;
  ProductStage<T>& stage_;
  T* const slab_;
};

template <class T>
PYNEURAL_INLINE int64_t widest(const MlpParams<T>& params) {
  int64_t width = 0;
  for (int l = 0; l <= params.layers; ++l)
    if (params.width[l] > width) width = params.width[l];
  return width;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    forward_kernel(const __grid_constant__ MlpParams<T> params) {
  __shared__ ProductStage<T> stage;
  BlockTile<T> tile(params, stage);
  const int64_t turn = widest(params) * kTile, outputs = params.width[params.layers];
  for_tiles(params.rows, kTile, [&](int64_t first) {
    tile.forward(
        first, [&](int l) { return l + 1 < params.layers ? tile.slab() + l % 2 * turn : nullptr; },
        [&](int l, int64_t o, int64_t n, T, T value) {
          if (l + 1 == params.layers && first + n < params.rows)
            params.y[(first + n) * outputs + o] = value;
        });
  });
}

// partial += layer l's parameter gradient: grad [O][kTile] with the layer's input.
template <class T>
__device__ void add_parameter_grad(const MlpParams<T>& params, const BlockTile<T>& tile,
                                   int64_t first, int l, const T* grad, const T* input,
                                   T* partial) {
  const int in = static_cast<int>(params.width[l]), out = static_cast<int>(params.width[l + 1]);
  T* const to = partial + params.offset[l];
  const auto left = [=](int64_t k, int64_t m) { return grad[m * kTile + k]; };
  const auto store = [=](int64_t m, int64_t n, T sum) { to[m * in + n] += sum; };
  if (l == 0)
    gradient_product<Along::k, Along::row, T>(
        out, in, kTile, tile.stage(), left,
        [&](int64_t k, int64_t n) { return tile.input(first + k, n); }, store);
  else
    gradient_product<Along::k, Along::k, T>(
        out, in, kTile, tile.stage(), left,
        [=](int64_t k, int64_t n) { return input[n * kTile + k]; }, store);
  add_row_sums(out, kTile, left, to + int64_t{out} * in);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(const __grid_constant__ MlpParams<T> params) {
  __shared__ ProductStage<T> stage;
  BlockTile<T> tile(params, stage);
  T* const slab = tile.slab();
  const int last = params.layers - 1;
  const int64_t outputs = params.width[params.layers], size = params.offset[params.layers];
  T* const partial = params.partial ? params.partial + blockIdx.x * size : nullptr;
  if (partial)
    for (int64_t i = threadIdx.x; i < size; i += kThreads) partial[i] = T(0);
  for_tiles(params.rows, kTile, [&](int64_t first) {
    const bool keeps_last = !needs_preactivation(params.activation(last));
    tile.forward(
        first, [&](int l) { return l < last || keeps_last ? slab + params.value_at[l] : nullptr; },
        [&](int l, int64_t o, int64_t n, T z, T) {
          if (needs_preactivation(params.activation(l)))
            slab[params.saved_at[l] + o * kTile + n] = z;
        });
    T* grad = slab + params.grad_at[0];
    T* other = slab + params.grad_at[1];
    for (int64_t i = threadIdx.x; i < kTile / 4 * outputs; i += kThreads) {
      const int64_t n = i / outputs * 4, o = i % outputs, at = o * kTile + n;
      Four<T> of_y;
      PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q)
        of_y.values[q] =
            first + n + q < params.rows ? params.grad_y[(first + n + q) * outputs + o] : T(0);
      const Four<T> of_z =
          multiply_by_slope(params.final, of_y, four_of(slab + params.saved_at[last] + at));
      PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q)
        grad[at + q] = first + n + q < params.rows ? of_z.values[q] : T(0);
    }
    __syncthreads();
    for (int l = last; l >= 0; --l) {
      const int64_t in = params.width[l], out = params.width[l + 1];
      if (partial)
        add_parameter_grad(params, tile, first, l, grad,
                           l > 0 ? slab + params.value_at[l - 1] : nullptr, partial);
      if (l == 0 && !params.grad_x) break;
      const T* const w = tile.weights(l);
      const T* const saved = l > 0 ? slab + params.saved_at[l - 1] : nullptr;
      block_product_in_fours<Along::row, Along::row, T>(
          in, kTile, out, tile.stage(), [=](int64_t k, int64_t m) { return w[k * in + m]; },
          [=](int64_t k, int64_t n) { return grad[k * kTile + n]; },
          [&](int64_t m, int64_t n, int, const T(&sums)[4]) {  // kTile is whole fours
            Four<T> of_input = four_of(sums);
            if (l > 0)
              of_input = multiply_by_slope(params.hidden, of_input, four_of(saved + m * kTile + n));
            PYNEURAL_UNROLL
            for (int q = 0; q < 4; ++q)
              if (l > 0)
                other[m * kTile + n + q] = of_input.values[q];
              else if (first + n + q < params.rows)
                params.grad_x[(first + n + q) * in + m] = of_input.values[q];
          });
      T* const used = grad;
      grad = other;
      other = used;
    }
    __syncthreads();
  });
}

template <class T>
cudaError_t launch(void (*kernel)(MlpParams<T>), const MlpParams<T>& params, cudaStream_t stream) {
  const size_t shared = params.shared_slab ? sizeof(T) * params.slab : 0;
  return pyneural::launch(kernel, params.blocks, kThreads, shared, stream, params);
}

// Places in the slab for what a backward needs of a tile: the value of each hidden layer, z of
// those whose derivative is no function of the value, the last layer's one of both, and two
// gradients.
template <class T>
void lay_out(MlpParams<T>* params) {
  int64_t size = 0;
  const auto place = [&](int64_t width) {
    size += width * kTile;
    return size - width * kTile;
  };
  for (int l = 0; l < params->layers; ++l) {
    const bool needs_z = needs_preactivation(params->activation(l));
    if (l + 1 < params->layers || !needs_z) params->value_at[l] = place(params->width[l + 1]);
    params->saved_at[l] = needs_z ? place(params->width[l + 1]) : params->value_at[l];
  }
  for (int64_t& at : params->grad_at) at = place(widest(*params));
  params->slab = size;
}

}  // namespace

template <class T>
cudaError_t MlpParams<T>::configure(bool backward) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  if (backward)
    lay_out(this);
  else
    slab = 2 * widest(*this) * kTile;
  const int64_t bytes = slab * static_cast<int64_t>(sizeof(T));
  shared_slab = bytes <= device.shared_bytes - kStaticBytes;
  const int64_t gradient = backward ? offset[layers] * sizeof(T) : 0;
  const int64_t of_block = gradient + (shared_slab ? 0 : bytes);
  blocks = blocks_for(tiles_of(rows, kTile), of_block, device);
  return cudaSuccess;
}

template <class T>
cudaError_t MlpParams<T>::launch_forward(cudaStream_t stream) const {
  return launch<T>(forward_kernel<T>, *this, stream);
}

template <class T>
cudaError_t MlpParams<T>::launch_backward(cudaStream_t stream) const {
  if (const cudaError_t error = launch<T>(backward_kernel<T>, *this, stream)) return error;
  if (!partial) return cudaSuccess;
  return launch_add_parts(partial, blocks, offset[layers], grad_parameters, stream);
}

template struct MlpParams<float>;
template struct MlpParams<double>;

}  // namespace pyneural::mlp
