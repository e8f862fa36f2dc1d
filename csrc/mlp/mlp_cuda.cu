// The mlp ops on CUDA: each block of threads takes tiles of rows through the whole network.
//
// What a tile's layers give stays in a slab, in shared memory where it fits: two layers in turn in
// the forward; in the backward, which computes the tile again, all layers and two gradients. Slabs
// of networks too large for that lie in global memory. A column of the tile is a row of x.
#include "../common/scalar_math.h"
#include "../common/tile_choice.cuh"
#include "mlp_cuda.h"

namespace pyneural::mlp {
namespace {

extern __shared__ __align__(16) unsigned char shared_memory[];

// One tile of rows on its way through the network.
template <class T>
class BlockTile {
 public:
  __device__ BlockTile(const MlpParams<T>& params, WeightStage<T>& stage)
      : params_(params),
        stride_(unit_stride<T>(params.tile.columns)),
        slab_(params.tile.shared_slab ? reinterpret_cast<T*>(shared_memory)
                                      : params.scratch + blockIdx.x * params.tile.slab),
        chunks_(stage) {
    chunks_.load(weights(0), 0, 0);
  }

  // The tile's rows of x, unit by unit; those beyond the last are it again.
  __device__ void load_inputs(int64_t first, T* to) const {
    const int inputs = params_.layers.inputs();
    const int64_t last = params_.rows - 1;
    for_rows_and_units(params_.tile.columns, inputs, [&](int n, int i) {
      const int64_t row = first + n < last ? first + n : last;
      to[i * stride_ + n] = params_.x[row * inputs + i];
    });
  }

  // use(l, place, z, value) for every layer, in fours; values(l) is where the inputs of layer l
  // are, which `use` stores. next: the layer whose weights come after.
  template <class Values, class Use>
  __device__ void forward(const Values& values, int next, const Use& use) {
    const int layers = params_.layers.count;
    for (int l = 0; l < layers; ++l) {
      const T* const bias = params_.layers.biases[l];
      layer_product<false>(params_.tile.columns, weights(l), values(l), chunks_,
                           weights(l + 1 < layers ? l + 1 : next),
                           [&](const auto& place, Four<T> z) {
                             PYNEURAL_UNROLL
                             for (int s = 0; s < 4; ++s)
                               if (place.is_inside(s)) z.values[s] += bias[place.unit(s)];
                             const Four<T> value = activate(params_.activation(l), z);
                             use(l, place, z, value);
                           });
    }
  }

  __device__ Weights<T> weights(int l) const {
    const LayerPointers<T>& layers = params_.layers;
    return {layers.weights[l], layers.width[l + 1], layers.width[l]};
  }
  // Unit `unit` of the slab.
  __device__ T* at(int unit) const { return slab_ + unit * stride_; }
  __device__ int64_t stride() const { return stride_; }
  __device__ WeightChunks<T>& chunks() { return chunks_; }

 private:
  const MlpParams<T>& params_;
  const int64_t stride_;
  T* const slab_;
  WeightChunks<T> chunks_;
};

template <class T>
PYNEURAL_INLINE int widest(const MlpParams<T>& params) {
  int width = 0;
  for (int l = 0; l <= params.layers.count; ++l)
    if (params.layers.width[l] > width) width = params.layers.width[l];
  return width;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    forward_kernel(const __grid_constant__ MlpParams<T> params) {
  __shared__ WeightStage<T> stage;
  BlockTile<T> tile(params, stage);
  const int turn = widest(params), last = params.layers.count - 1;
  const int outputs = params.layers.outputs();
  for_tiles(params.rows, params.tile.columns, [&](int64_t first) {
    __syncthreads();  // the last layer of the tile before is done with its inputs
    tile.load_inputs(first, tile.at(0));
    tile.forward([&](int l) { return tile.at(l % 2 * turn); }, 0,
                 [&](int l, const auto& place, Four<T>, Four<T> value) {
                   if (l < last) {
                     place.store(value, tile.at((l + 1) % 2 * turn));
                     return;
                   }
                   PYNEURAL_UNROLL
                   for (int s = 0; s < 4; ++s)
                     if (const int64_t row = first + place.column(s);
                         place.is_inside(s) && row < params.rows)
                       params.y[row * outputs + place.unit(s)] = value.values[s];
                 });
  });
}

// grad [O] of the tile: d loss / d z of the last layer, from grad_y; 0 beyond the last row.
template <class T>
__device__ void load_output_grad(const MlpParams<T>& params, const BlockTile<T>& tile,
                                 int64_t first, T* grad) {
  const int outputs = params.layers.outputs(), columns = params.tile.columns;
  const int64_t left = params.rows - first;
  for_rows_and_units(columns, outputs, [&](int n, int o) {
    grad[o * tile.stride() + n] = n < left ? params.grad_y[(first + n) * outputs + o] : T(0);
  });
  __syncthreads();
  const T* const saved = tile.at(params.saved_at[params.layers.count - 1]);
  for_pairs(outputs, columns / 4, [&](int o, int four) {
    const int64_t at = o * tile.stride() + 4 * four;
    const Four<T> of_z = multiply_by_slope(params.final, four_of(grad + at), four_of(saved + at));
    PYNEURAL_UNROLL
    for (int s = 0; s < 4; ++s) grad[at + s] = 4 * four + s < left ? of_z.values[s] : T(0);
  });
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    backward_kernel(const __grid_constant__ MlpParams<T> params) {
  __shared__ WeightStage<T> stage;
  BlockTile<T> tile(params, stage);
  const LayerPointers<T>& layers = params.layers;
  const int last = layers.count - 1, columns = params.tile.columns;
  T* const partial = params.partial ? params.partial + blockIdx.x * layers.parameters() : nullptr;
  if (partial)
    for (int64_t i = threadIdx.x; i < layers.parameters(); i += kThreads) partial[i] = T(0);
  const auto input_of = [&](int l) {
    return tile.at(l > 0 ? params.value_at[l - 1] : params.inputs_at);
  };
  for_tiles(params.rows, columns, [&](int64_t first) {
    __syncthreads();  // the tile before is done with its values
    tile.load_inputs(first, tile.at(params.inputs_at));
    const bool keeps_last = !needs_preactivation(params.activation(last));
    tile.forward(input_of, last, [&](int l, const auto& place, Four<T> z, Four<T> value) {
      if (l < last || keeps_last) place.store(value, tile.at(params.value_at[l]));
      if (needs_preactivation(params.activation(l))) place.store(z, tile.at(params.saved_at[l]));
    });
    T* grad = tile.at(params.grad_at[0]);
    T* other = tile.at(params.grad_at[1]);
    load_output_grad(params, tile, first, grad);
    for (int l = last; l >= 0; --l) {
      const int in = layers.width[l], out = layers.width[l + 1];
      if (partial) {
        T* const to = partial + layers.offset[l];
        add_weight_gradient(columns, grad, out, input_of(l), in, to);
        add_unit_sums(grad, tile.stride(), out, columns, to + int64_t{out} * in);
      }
      if (l == 0 && !params.grad_x) break;
      layer_product<true>(columns, tile.weights(l), grad, tile.chunks(),
                          tile.weights(l > 0 ? l - 1 : 0),
                          [&](const auto& place, Four<T> of_input) {
                            if (l > 0) {
                              const Four<T> saved = place.load(tile.at(params.saved_at[l - 1]));
                              place.store(multiply_by_slope(params.hidden, of_input, saved), other);
                              return;
                            }
                            PYNEURAL_UNROLL
                            for (int s = 0; s < 4; ++s)
                              if (const int64_t row = first + place.column(s);
                                  place.is_inside(s) && row < params.rows)
                                params.grad_x[row * in + place.unit(s)] = of_input.values[s];
                          });
      __syncthreads();
      T* const used = grad;
      grad = other;
      other = used;
    }
  });
}

template <class T>
cudaError_t launch(void (*kernel)(MlpParams<T>), const MlpParams<T>& params, cudaStream_t stream) {
  const size_t shared = params.tile.shared_slab ? sizeof(T) * params.tile.slab : 0;
  return pyneural::launch(kernel, params.tile.blocks, kThreads, shared, stream, params);
}

// Places in the slab for what a backward needs of a tile: the inputs, the value of each hidden
// layer, z of those whose derivative is no function of the value, the last layer's one of both, and
// two gradients. Gives the units of all.
template <class T>
int lay_out(MlpParams<T>* params) {
  const LayerPointers<T>& layers = params->layers;
  int units = 0;
  const auto place = [&](int width) {
    units += width;
    return units - width;
  };
  params->inputs_at = place(layers.inputs());
  for (int l = 0; l < layers.count; ++l) {
    const bool needs_z = needs_preactivation(params->activation(l));
    if (l + 1 < layers.count || !needs_z) params->value_at[l] = place(layers.width[l + 1]);
    params->saved_at[l] = needs_z ? place(layers.width[l + 1]) : params->value_at[l];
  }
  for (int32_t& at : params->grad_at) at = place(widest(*params));
  return units;
}

}  // namespace

template <class T>
cudaError_t MlpParams<T>::configure(bool backward, bool sums_gradients) {
  if (!backward) return choose_tiles<T>(forward_kernel<T>, {rows, 1, 2 * widest(*this), 0}, &tile);
  const int64_t gradient = sums_gradients ? layers.parameters() * sizeof(T) : 0;
  return choose_tiles<T>(backward_kernel<T>, {rows, 1, lay_out(this), gradient}, &tile);
}

template <class T>
cudaError_t MlpParams<T>::launch_forward(cudaStream_t stream) const {
  return launch<T>(forward_kernel<T>, *this, stream);
}

template <class T>
cudaError_t MlpParams<T>::launch_backward(cudaStream_t stream) const {
  if (const cudaError_t error = launch<T>(backward_kernel<T>, *this, stream)) return error;
  if (!partial) return cudaSuccess;
  return launch_add_parts(partial, tile.blocks, layers.parameters(), grad_parameters, stream);
}

template struct MlpParams<float>;
template struct MlpParams<double>;

}  // namespace pyneural::mlp
