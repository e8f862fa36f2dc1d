// A tile of points through the whole network, forward and backward, in one thread's cache.
//
// Letters: P points of the tile (whole vectors, the last ones padding), D inputs, C channels,
// L layers, I and O a layer's inputs and outputs. A layer's values are stored unit by unit,
// [O][C][P], each unit's row `stride` elements long: a linear layer is one product whose columns
// are all channels and points together, and an activation works on one row. So is the first layer
// where x is the jet of the inputs; of points, the channels are constant.
#pragma once

#include <algorithm>
#include <cstring>

#include "../common/panels.h"
#include "../common/scratch.h"
#include "jet_check.h"
#include "jet_rows.h"

namespace pyneural::jet {

// Weights as the products read them, shared by all threads.
template <class T>
struct Weights {
  std::vector<const T*> weight, bias;  // [L] each [O, I], [O]
  int64_t first;                       // layer that multiplies all channels: 0 of a jet, else 1
  std::vector<PackedMatrix<T>> forward,
      backward;  // [L - first] of layers first .. L - 1: W and its transpose

  static int64_t first_product(const Network& network) { return network.has_jet_x ? 0 : 1; }
  static int64_t storage(const Network& network) {
    int64_t size = 0;
    for (int64_t l = first_product(network); l < network.layers(); ++l)
      size += PackedMatrix<T>::storage(network.width[l + 1], network.width[l]) +
              PackedMatrix<T>::storage(network.width[l], network.width[l + 1]);
    return size;
  }

  Weights(const Network& network, std::vector<const T*> weights, std::vector<const T*> biases,
          T* storage)
      : weight(std::move(weights)), bias(std::move(biases)), first(first_product(network)) {
    for (int64_t l = first; l < network.layers(); ++l) {
      const int64_t in = network.width[l], out = network.width[l + 1];
      forward.emplace_back(Strided<T>{weight[l], in, 1}, out, in, storage);
      storage += PackedMatrix<T>::storage(out, in);
      backward.emplace_back(Strided<T>{weight[l], 1, in}, in, out, storage);
      storage += PackedMatrix<T>::storage(in, out);
    }
  }
};

template <class T>
struct TileShape {
  int64_t points = 0;   // P
  int64_t columns = 0;  // C * P
  int64_t stride = 0;   // columns and padding: an odd number of cache lines spreads rows over sets

  // Long rows amortise the products' start-up, short ones leave the second-level cache to the
  // weights: 384 columns measure best or nearly so from width 20 to 256. Within `budget` bytes.
  TileShape(const Network& network, int64_t threads, int64_t budget) {
    constexpr int64_t kColumns = 384;
    const int64_t channels = network.plan.channels;
    const int64_t share = (network.points + threads - 1) / threads;
    points = std::min(round_up(kColumns / channels, lanes<T>()), round_up(share, lanes<T>()));
    points = std::max(points, lanes<T>());
    for (;; points -= lanes<T>()) {
      *this = TileShape(network, points);
      if (points <= lanes<T>() || storage(network) * static_cast<int64_t>(sizeof(T)) <= budget)
        break;
    }
  }
  // Of so many points, whole vectors of them.
  TileShape(const Network& network, int64_t points)
      : points(points), columns(network.plan.channels * points), stride(odd_lines<T>(columns)) {}

  // Between the rows of the inputs: [P] of points, [C][P] of a jet.
  int64_t input_stride(const Network& network) const {
    return network.has_jet_x ? stride : round_up(points, kCacheLine / sizeof(T));
  }

  int64_t storage(const Network& network) const {
    int64_t widest = network.outputs(), hidden = 0;
    for (int64_t l = 1; l < network.layers(); ++l) {
      widest = std::max(widest, network.width[l]);
      hidden += network.width[l];
    }
    return network.inputs() * input_stride(network) +
           (2 * hidden + network.outputs() + 2 * widest) * stride;
  }
};

// Takes n points from `first` on out of all x, [N, D] or [C, N, D], into rows of a tile, [D][P] or
// [D][C][P], `row_stride` elements apart: made up to P by repeating the last point.
template <class T>
void load_points(const Network& network, const T* x, int64_t first, int64_t n, T* rows,
                 int64_t row_stride, int64_t points) {
  const int64_t inputs = network.inputs();
  const int channels = network.has_jet_x ? network.plan.channels : 1;
  for (int c = 0; c < channels; ++c) {
    const T* const from = x + (c * network.points + first) * inputs;
    for (int64_t d = 0; d < inputs; ++d) {
      T* row = rows + d * row_stride + c * points;
      for (int64_t p = 0; p < n; ++p) row[p] = from[p * inputs + d];
      std::fill(row + n, row + points, row[n - 1]);
    }
  }
}

// The first layer of points, x [D][input_stride], into z [O][stride] without the bias. Only the
// value and the first derivatives are not zero, and those are constant: z_0 = W x, z_c = sum of the
// channel's seeds' columns of W. Its rows are `weight_stride` elements apart.
template <class T>
void first_layer_of_points(const Network& network, const TileShape<T>& shape, const T* x,
                           int64_t input_stride, const T* weight, int64_t weight_stride, T* z) {
  const Plan& plan = network.plan;
  const int64_t inputs = network.inputs(), points = shape.points;
  for (int64_t o = 0; o < network.width[1]; ++o, z += shape.stride) {
    const T* w = weight + o * weight_stride;
    for (int64_t p = 0; p < points; p += lanes<T>()) {
      Vec<T> sum(T(0));
      for (int64_t d = 0; d < inputs; ++d)
        sum = at::vec::fmadd(Vec<T>(w[d]), Vec<T>::loadu(x + d * input_stride + p), sum);
      sum.store(z + p);
    }
    int s = 0;
    for (int c = 1; c < plan.channels; ++c) {
      T sum = 0;
      for (; s < plan.seeds && plan.seed[s].channel == c; ++s)
        sum += static_cast<T>(plan.seed_coefficient[s]) * w[plan.seed[s].input];
      std::fill_n(z + c * points, points, sum);
    }
  }
}

// One thread's tile: its storage, and the steps that a pass is made of.
template <class T>
class Tile {
 public:
  Tile(const Network& network, const Weights<T>& weights, const ActivationRows<T>& activation,
       const TileShape<T>& shape, T* storage)
      : network_(network), weights_(weights), activation_(activation), shape_(shape) {
    const int64_t stride = shape.stride;
    int64_t widest = network.outputs();
    x_ = storage;
    input_stride_ = shape.input_stride(network);
    storage += network.inputs() * input_stride_;
    for (int64_t l = 0; l + 1 < network.layers(); ++l) {
      const int64_t width = network.width[l + 1];
      widest = std::max(widest, width);
      z_.push_back(storage);
      a_.push_back(storage + width * stride);
      storage += 2 * width * stride;
    }
    output_ = storage;
    grad_ = output_ + network.outputs() * stride;
    grad_next_ = grad_ + widest * stride;
  }

  const TileShape<T>& shape() const { return shape_; }
  const Network& network() const { return network_; }
  int64_t input_stride() const { return input_stride_; }
  T* input(int64_t d) { return x_ + d * input_stride_; }  // [P]; of a jet [C][P]
  T* output(int64_t o, int64_t c) { return output_ + o * shape_.stride + c * shape_.points; }
  T* grad_output(int64_t o, int64_t c) { return grad_ + o * shape_.stride + c * shape_.points; }

  // Takes n points from `first` on out of all x, [N, D] or [C, N, D]: P becomes n, made up to whole
  // vectors by repeating the last point.
  void load(const T* x, int64_t first, int64_t n) {
    shape_.points = round_up(n, lanes<T>());
    shape_.columns = network_.plan.channels * shape_.points;
    load_points(network_, x, first, n, x_, input_stride_, shape_.points);
  }

  // Fills output(o, c).
  void forward() {
    const int64_t layers = network_.layers();
    first_layer(layers == 1 ? output_ : z_[0]);
    for (int64_t l = 1; l < layers; ++l) {
      activation_.forward(network_.plan, rows(l - 1), weights_.bias[l - 1], z_[l - 1], a_[l - 1]);
      product(weights_.forward, l, a_[l - 1], l + 1 < layers ? z_[l] : output_);
    }
    for (int64_t o = 0; o < network_.outputs(); ++o) {
      T* row = output(o, 0);
      const Vec<T> bias(weights_.bias[layers - 1][o]);
      for (int64_t p = 0; p < shape_.points; p += lanes<T>())
        (Vec<T>::loadu(row + p) + bias).store(row + p);
    }
  }

  // After forward(): from grad_output, zero on the padding. `layer(l, grad, a)` is called for every
  // layer from the last with the grad of its outputs [O][stride] and its inputs [I][stride] (null
  // at l = 0 for points, where they are input() and the plan's seeds). Leaves grad_output
  // undefined.
  template <class Layer>
  void backward(const Layer& layer) {
    for (int64_t l = network_.layers() - 1; l >= 1; --l) {
      product(weights_.backward, l, grad_, grad_next_);
      activation_.backward(network_.plan, rows(l - 1), z_[l - 1], grad_next_);
      layer(l, grad_, a_[l - 1]);
      std::swap(grad_, grad_next_);
    }
    layer(0, grad_, network_.has_jet_x ? x_ : nullptr);
  }

  // grad_x, from the grad of the first layer's outputs [O][stride]: of points [D][P], of a jet
  // [D][stride]. It is the product with the first layer's transpose, of points on the value alone.
  void input_grad(const T* grad_z, T* grad_x) const {
    if (network_.has_jet_x) return product(weights_.backward, 0, grad_z, grad_x);
    const int64_t inputs = network_.inputs(), points = shape_.points;
    for (int64_t d = 0; d < inputs; ++d)
      for (int64_t p = 0; p < points; p += lanes<T>()) {
        Vec<T> sum(T(0));
        for (int64_t o = 0; o < network_.width[1]; ++o)
          sum = at::vec::fmadd(Vec<T>(weights_.weight[0][o * inputs + d]),
                               Vec<T>::loadu(grad_z + o * shape_.stride + p), sum);
        sum.store(grad_x + d * points + p);
      }
  }

 private:
  // Layer l's product with all channels of its points.
  void product(const std::vector<PackedMatrix<T>>& matrices, int64_t l, const T* from,
               T* to) const {
    multiply(matrices[l - weights_.first], from, shape_.stride, to, shape_.stride,
             shape_.columns / lanes<T>());
  }

  void first_layer(T* z) {
    if (network_.has_jet_x) return product(weights_.forward, 0, x_, z);
    first_layer_of_points(network_, shape_, x_, input_stride_, weights_.weight[0],
                          network_.inputs(), z);
  }

  Rows rows(int64_t l) const { return {network_.width[l + 1], shape_.stride, shape_.points}; }

  const Network& network_;
  const Weights<T>& weights_;
  const ActivationRows<T>& activation_;
  TileShape<T> shape_;
  int64_t input_stride_;
  T* x_;                  // [D][input_stride_]
  std::vector<T*> z_;     // [L - 1] each [O][stride]: pre-activations, saved for the backward
  T* output_;             // [O][stride]
  T *grad_, *grad_next_;  // [widest][stride] grads of a layer's outputs and of its inputs
  std::vector<T*> a_;     // [L - 1] each [O][stride]: activations
};

}  // namespace pyneural::jet
