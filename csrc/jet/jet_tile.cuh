// A tile of points through the whole network, forward and backward, by one block of threads.
//
// The host's jet_tile.h for a block: a layer's values lie unit by unit in the block's slab, see
// layer_product.cuh. Column c * tile_points + p of a unit is channel c of point p; columns after
// the last channel are 0. Letters: see jet_cuda.h.
#pragma once

#include "../common/layer_product.cuh"
#include "../common/scalar_math.h"
#include "jet_activation.h"
#include "jet_cuda.h"

namespace pyneural::jet {

struct LayerSizes {
  int widest = 0;  // of all layers and the inputs
  int hidden = 0;  // sum of all but the last

  template <class T>
  PYNEURAL_INLINE explicit LayerSizes(const LayerPointers<T>& layers) {
    for (int l = 0; l <= layers.count; ++l) {
      widest = layers.width[l] > widest ? layers.width[l] : widest;
      if (l > 0 && l < layers.count) hidden += layers.width[l];
    }
  }
};

// Units of a block's slab. saves_layers: every layer's z, for a backward; else one is reused.
template <class T>
PYNEURAL_INLINE int64_t slab_units(const LayerPointers<T>& layers, bool saves_layers) {
  const auto [widest, hidden] = LayerSizes(layers);
  const int64_t saved = saves_layers ? int64_t{hidden} + 2 * int64_t{widest} : widest;
  return saved + widest + layers.outputs();
}

// f[0 .. order + 1] of an activation, and what a forward saves of z_0, see activate in
// jet_activation.h.
template <class T>
struct Derivatives {
  T f[kMaxOrder + 2] = {}, saved = {};
};

// Functions of their own, as in activate.cuh: what a jet makes of the derivatives follows once, not
// for each activation. Second derivatives, which most plans end with, have code of their own.
template <class T>
[[gnu::noinline]] __device__ Derivatives<T> derivatives_at(ActivationKind kind, int order, T z) {
  Derivatives<T> of;
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    if (order <= 2)
      Activation::template evaluate<2>(z, of.f);
    else
      Activation::template evaluate<kMaxOrder>(z, of.f);
    of.saved = Activation::kFromValue ? of.f[0] : z;
  });
  return of;
}
// One more, which a backward needs.
template <class T>
[[gnu::noinline]] __device__ Derivatives<T> derivatives_from(ActivationKind kind, int order,
                                                             T saved) {
  Derivatives<T> of;
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    if (order <= 2)
      detail::saved_derivatives<Activation, 3>(saved, of.f);
    else
      detail::saved_derivatives<Activation, kMaxOrder + 1>(saved, of.f);
  });
  return of;
}

template <class T, bool saves_layers>
class BlockTile {
 public:
  __device__ BlockTile(const JetParams<T>& params, T* slab, WeightStage<T>& stage)
      : params_(params), stride_(unit_stride<T>(params.tile.columns)), chunks_(stage) {
    const LayerSizes sizes(params.layers);
    z_ = slab;
    a_ = z_ + (saves_layers ? sizes.hidden : sizes.widest) * stride_;
    output_ = a_ + sizes.widest * stride_;
    grad_ = output_ + params.layers.outputs() * stride_;
    grad_next_ = grad_ + sizes.widest * stride_;
    // No activation writes the columns after the last channel.
    const int used = params.plan.channels * params.tile_points;
    for_pairs(sizes.widest, params.tile.columns - used,
              [&](int unit, int column) { a_[unit * stride_ + used + column] = T(0); });
    chunks_.load(weights(0), 0, 0);
  }

  __device__ int64_t stride() const { return stride_; }
  __device__ const T* output(int o, int c) const {
    return output_ + o * stride_ + c * params_.tile_points;
  }
  __device__ T* grad_output(int o, int c) const {
    return grad_ + o * stride_ + c * params_.tile_points;
  }
  __device__ void clear_grad_output() const {
    for_pairs(params_.layers.outputs(), params_.tile.columns,
              [&](int o, int column) { grad_[o * stride_ + column] = T(0); });
  }

  // The jet of the tile's points as outputs; ends with a barrier. next: the layer whose weights
  // come after.
  __device__ void forward(int64_t first, int next) {
    const int last = params_.layers.count - 1, tile = params_.tile_points;
    load_inputs(first);
    T* z = z_;
    for (int l = 0; l <= last; ++l) {
      T* const to = l < last ? z : output_;
      const T* const bias = l < last ? nullptr : params_.layers.biases[l];
      layer_product<false>(params_.tile.columns, weights(l), static_cast<const T*>(a_), chunks_,
                           weights(l < last ? l + 1 : next), [&](const auto& place, Four<T> sums) {
                             if (bias) {
                               PYNEURAL_UNROLL
                               for (int s = 0; s < 4; ++s)
                                 if (place.is_inside(s) && place.column(s) < tile)
                                   sums.values[s] += bias[place.unit(s)];
                             }
                             place.store(sums, to);
                           });
      __syncthreads();
      if (l == last) break;
      activate_units(l, z);
      if (saves_layers) z += params_.layers.width[l + 1] * stride_;
    }
  }

  // After forward(): from grad_output. `layer(l, grad, a)` is called for every layer from the last
  // with the grad of its outputs [O][stride] and its inputs [I][stride]. Ends without a barrier.
  // next: the layer whose weights come after.
  template <class Layer>
  __device__ void backward(int64_t first, int next, const Layer& layer) {
    const int tile = params_.tile_points;
    const T* z = z_;
    for (int l = 1; l < params_.layers.count - 1; ++l) z += params_.layers.width[l] * stride_;
    for (int l = params_.layers.count - 1; l >= 1; --l) {
      T* const to = grad_next_;
      layer_product<true>(params_.tile.columns, weights(l), static_cast<const T*>(grad_), chunks_,
                          weights(l > 1 ? l - 1 : next),
                          [=](const auto& place, const Four<T>& sums) { place.store(sums, to); });
      __syncthreads();
      for_pairs(params_.layers.width[l], tile, [&](int unit, int p) {
        const int64_t at = unit * stride_ + p;
        const auto of = derivatives_from(params_.activation, params_.plan.order, z[at]);
        store_jet<kMaxOrder>(params_.plan, tile, of.f, z + at, a_ + at);
        transpose_jet<kMaxOrder>(params_.plan, tile, of.f, z + at, to + at);
      });
      __syncthreads();
      layer(l, grad_, a_);
      grad_next_ = grad_;
      grad_ = to;
      if (l > 1) z -= params_.layers.width[l - 1] * stride_;
    }
    __syncthreads();
    load_inputs(first);
    __syncthreads();
    layer(0, grad_, a_);
  }

  __device__ Weights<T> weights(int l) const {
    const LayerPointers<T>& layers = params_.layers;
    return {layers.weights[l], layers.width[l + 1], layers.width[l]};
  }
  __device__ WeightChunks<T>& chunks() { return chunks_; }

 private:
  // The jet of the inputs as a; points beyond the last are it again.
  __device__ void load_inputs(int64_t first) {
    const int inputs = params_.layers.inputs(), tile = params_.tile_points;
    const int channels = params_.plan.channels;
    const int64_t last = params_.points - 1;
    if (!params_.has_jet_x) {
      for_pairs(inputs, (channels - 1) * tile,
                [&](int d, int column) { a_[d * stride_ + tile + column] = T(0); });
      __syncthreads();
      for_pairs(params_.plan.seeds, tile, [&](int s, int p) {
        const Seed seed = params_.plan.seed[s];
        a_[seed.input * stride_ + seed.channel * tile + p] =
            static_cast<T>(params_.plan.seed_coefficient[s]);
      });
    }
    for (int c = 0; c < (params_.has_jet_x ? channels : 1); ++c)
      for_rows_and_units(tile, inputs, [&](int p, int d) {
        const int64_t n = first + p < last ? first + p : last;
        a_[d * stride_ + c * tile + p] = params_.x[(c * params_.points + n) * inputs + d];
      });
  }

  __device__ void activate_units(int l, T* z) {
    const int tile = params_.tile_points;
    const T* const bias = params_.layers.biases[l];
    for_pairs(params_.layers.width[l + 1], tile, [&](int unit, int p) {
      const int64_t at = unit * stride_ + p;
      const auto of = derivatives_at(params_.activation, params_.plan.order, z[at] + bias[unit]);
      z[at] = of.saved;
      store_jet<kMaxOrder>(params_.plan, tile, of.f, z + at, a_ + at);
    });
  }

  const JetParams<T>& params_;
  const int64_t stride_;  // from a unit to the next
  WeightChunks<T> chunks_;
  T* z_;                  // saves_layers: [L - 1] each [O][stride]; else one, the widest
  T* a_;                  // [widest][stride]
  T* output_;             // [O][stride]
  T *grad_, *grad_next_;  // [widest][stride] each, only where saves_layers
};

}  // namespace pyneural::jet
