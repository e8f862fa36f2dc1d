// A tile of points through the whole network, forward and backward, by one block of threads.
//
// The host's jet_tile.h for a block: a layer's values lie unit by unit, [O][C][tile], `columns` =
// C * tile elements a unit, in the block's slab of global memory, which is small enough (tens of
// megabytes for all blocks) to stay in the second-level cache. Letters: see jet_cuda.h.
#pragma once

#include "../common/matmul.cuh"
#include "../common/scalar_math.h"
#include "jet_activation.h"
#include "jet_cuda.h"

namespace pyneural::jet {

struct LayerSizes {
  int64_t widest = 0;  // of all layers
  int64_t hidden = 0;  // sum of all but the last

  template <class T>
  PYNEURAL_INLINE explicit LayerSizes(const JetParams<T>& params) {
    for (int l = 1; l <= params.layers; ++l) {
      widest = params.width[l] > widest ? params.width[l] : widest;
      if (l < params.layers) hidden += params.width[l];
    }
  }
};

// Elements of a block's slab. saves_layers: every layer's z, for a backward; else one is reused.
template <class T>
inline int64_t slab_elements(const JetParams<T>& params, bool saves_layers) {
  const auto [widest, hidden] = LayerSizes(params);
  const int64_t columns = static_cast<int64_t>(params.plan.channels) * params.tile;
  const int64_t saved = saves_layers ? hidden + 2 * widest : widest;
  return (saved + widest + params.width[params.layers]) * columns;
}

template <class T, int order>
struct ActivatePoint {
  const Plan& plan;
  int64_t stride;
  T bias;
  T *z, *a;
  template <class Activation>
  PYNEURAL_INLINE void operator()(Activation) const {
    constexpr int kOrder = Activation::kSmooth || order < 2 ? order : 1;
    activate<Activation, kOrder, T>(plan, stride, bias, z, a);
  }
};

template <class T, int order>
struct ActivatePointBackward {
  const Plan& plan;
  int64_t stride;
  const T* z;
  T *grad, *a;
  template <class Activation>
  PYNEURAL_INLINE void operator()(Activation) const {
    constexpr int kOrder = Activation::kSmooth || order < 2 ? order : 1;
    activate_again<Activation, kOrder, T>(plan, stride, z, a);
    activate_backward<Activation, kOrder, T>(plan, stride, z, grad);
  }
};

// order: derivatives of the activation that the code has, at least the plan's.
template <class T, int order, bool saves_layers>
class BlockTile {
 public:
  __device__ BlockTile(const JetParams<T>& params, const T* parameters, T* slab,
                       ProductStage<T>& stage)
      : params_(params), parameters_(parameters), stage_(stage) {
    columns_ = static_cast<int64_t>(params.plan.channels) * params.tile;
    const LayerSizes sizes(params);
    z_ = slab;
    a_ = z_ + (saves_layers ? sizes.hidden : sizes.widest) * columns_;
    output_ = a_ + sizes.widest * columns_;
    grad_ = output_ + params.width[params.layers] * columns_;
    grad_next_ = grad_ + sizes.widest * columns_;
  }

  __device__ int64_t columns() const { return columns_; }
  __device__ const T* output(int64_t o, int64_t c) const {
    return output_ + o * columns_ + c * params_.tile;
  }
  __device__ T* grad_output(int64_t o, int64_t c) const {
    return grad_ + o * columns_ + c * params_.tile;
  }

  // Input d, in channel c, of point p of the tile that begins at `first`; beyond the last point,
  // that of the last point again.
  __device__ T input(int64_t first, int64_t c, int64_t p, int64_t d) const {
    const int64_t n = first + p < params_.points ? first + p : params_.points - 1;
    if (!params_.has_jet_x && c > 0) return params_.plan.template direction<T>(c, d);
    return params_.x[(c * params_.points + n) * params_.width[0] + d];
  }

  __device__ void forward(int64_t first) {
    const int layers = params_.layers;
    T* z = z_;
    first_layer(first, layers == 1 ? output_ : z);
    for (int l = 1; l < layers; ++l) {
      activate_units(l, z);
      const int64_t in = params_.width[l];
      if (saves_layers) z += in * columns_;
      T* const to = l + 1 < layers ? z : output_;
      const T* const w = parameters_ + params_.offset[l];
      const T* const a = a_;
      const int64_t columns = columns_;
      block_product<Along::k, Along::row, T>(
          params_.width[l + 1], columns, in, stage_,
          [=](int64_t k, int64_t m) { return w[m * in + k]; },
          [=](int64_t k, int64_t n) { return a[k * columns + n]; },
          [=](int64_t m, int64_t n, T sum) { to[m * columns + n] = sum; });
    }
    const T* const bias = bias_of(layers - 1);
    const int tile = params_.tile;
    for (int i = threadIdx.x; i < params_.width[layers] * tile; i += kThreads)
      output_[i / tile * columns_ + i % tile] += bias[i / tile];
    __syncthreads();
  }

  // After forward(): from grad_output. `layer(l, grad, a)` is called for every layer from the last
  // with the grad of its outputs [O][columns] and its inputs [I][columns], null at l = 0, where
  // they are input().
  template <class Layer>
  __device__ void backward(const Layer& layer) {
    const int64_t columns = columns_;
    const int tile = params_.tile;
    const T* z = z_;
    for (int l = 1; l < params_.layers - 1; ++l) z += params_.width[l] * columns;
    for (int l = params_.layers - 1; l >= 1; --l) {
      const int in = params_.width[l], out = params_.width[l + 1];
      const T *const w = parameters_ + params_.offset[l], *const grad = grad_;
      T* const to = grad_next_;
      block_product<Along::row, Along::row, T>(
          in, columns, out, stage_, [=](int64_t k, int64_t m) { return w[k * in + m]; },
          [=](int64_t k, int64_t n) { return grad[k * columns + n]; },
          [=](int64_t m, int64_t n, T sum) { to[m * columns + n] = sum; });
      for (int i = threadIdx.x; i < in * tile; i += kThreads) {
        const int64_t at = i / tile * columns + i % tile;
        visit_activation(params_.activation, ActivatePointBackward<T, order>{
                                                 params_.plan, tile, z + at, to + at, a_ + at});
      }
      __syncthreads();
      layer(l, grad_, a_);
      __syncthreads();
      T* const swap = grad_;
      grad_ = grad_next_;
      grad_next_ = swap;
      if (l > 1) z -= params_.width[l - 1] * columns;
    }
    layer(0, grad_, static_cast<const T*>(nullptr));
    __syncthreads();
  }

  __device__ ProductStage<T>& stage() { return stage_; }
  __device__ const T* weights(int l) const { return parameters_ + params_.offset[l]; }

 private:
  __device__ const T* bias_of(int l) const {
    return weights(l) + static_cast<int64_t>(params_.width[l + 1]) * params_.width[l];
  }

  // As on the host: of points z_0 = W x, z_c = sum of the channel's seeds' columns of W.
  __device__ void first_layer(int64_t first, T* z) {
    const int64_t inputs = params_.width[0];
    const int tile = params_.tile;
    if (params_.has_jet_x) {
      const T* const w = weights(0);
      const int64_t columns = columns_;
      block_product<Along::k, Along::k, T>(
          params_.width[1], columns, inputs, stage_,
          [=](int64_t k, int64_t m) { return w[m * inputs + k]; },
          [=, this](int64_t k, int64_t n) {
            const int column = static_cast<int>(n);
            return input(first, column / tile, column % tile, k);
          },
          [=](int64_t m, int64_t n, T sum) { z[m * columns + n] = sum; });
      return;
    }
    const int columns = static_cast<int>(columns_);
    for (int i = threadIdx.x; i < params_.width[1] * columns; i += kThreads) {
      const int c = i % columns / tile, p = i % tile;
      const T* const w = weights(0) + i / columns * inputs;
      T sum = T(0);
      if (c == 0) {
        for (int64_t d = 0; d < inputs; ++d) sum += w[d] * input(first, 0, p, d);
      } else {
        for (int s = 0; s < params_.plan.seeds; ++s)
          if (params_.plan.seed[s].channel == c)
            sum += static_cast<T>(params_.plan.seed_coefficient[s]) * w[params_.plan.seed[s].input];
      }
      z[i] = sum;
    }
    __syncthreads();
  }

  __device__ void activate_units(int l, T* z) {
    const int tile = params_.tile;
    const T* const bias = bias_of(l - 1);
    for (int i = threadIdx.x; i < params_.width[l] * tile; i += kThreads) {
      const int64_t at = i / tile * columns_ + i % tile;
      visit_activation(
          params_.activation,
          ActivatePoint<T, order>{params_.plan, tile, bias[i / tile], z + at, a_ + at});
    }
    __syncthreads();
  }

  const JetParams<T>& params_;
  const T* parameters_;  // [P] in global or shared memory
  ProductStage<T>& stage_;
  int64_t columns_;
  T* z_;                  // saves_layers: [L - 1] each [O][columns]; else one, the widest
  T* a_;                  // [widest][columns]
  T* output_;             // [O][columns]
  T *grad_, *grad_next_;  // [widest][columns] each, only where saves_layers
};

}  // namespace pyneural::jet
