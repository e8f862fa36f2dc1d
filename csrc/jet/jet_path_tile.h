// A tile of points through a network whose parameters are polynomials in tau, in one thread's
// cache: what jet_tile.h does with numbers, with Taylor series of K + 1 coefficients.
//
// Letters as there. A layer's outputs are [K + 1][O][stride], one coefficient after the other; its
// inputs too, but from the last coefficient to the first, and its weights lie side by side,
// [O][K + 1][I]. So coefficient k of the product, sum_j W_j a_(k - j), is one product of the first
// (k + 1) I columns of the weights with the last (k + 1) I rows of the inputs.
#pragma once

#include "../common/caches.h"
#include "jet_path_rows.h"
#include "jet_tile.h"

namespace pyneural::jet {

// The parameters and the program's coefficients along the path: Taylor coefficients, each 1 / k!
// times the derivative that the path gives.
template <class T>
struct PathParameters {
  std::vector<const T*> weight;         // [L] each [O][K + 1][I]
  std::vector<const T*> bias;           // [L] each [K + 1][O]
  const T* factor;                      // [K + 1][Q]
  std::vector<PackedMatrix<T>> packed;  // [L] of the weights, [O, (K + 1) I]

  static int64_t storage(const Network& network, int64_t order, int64_t factors) {
    int64_t size = (order + 1) * (network.parameters + factors);
    for (int64_t l = 0; l < network.layers(); ++l)
      size += PackedMatrix<T>::storage(network.width[l + 1], (order + 1) * network.width[l]);
    return size;
  }

  // parameters: weights[0], biases[0], weights[1], ..., factors; path [K][P + Q]
  PathParameters(const Network& network, const std::vector<const T*>& parameters, int64_t factors,
                 const T* path, int64_t order, T* storage) {
    const int64_t size = network.parameters + factors;
    int64_t offset = 0;
    // The coefficients of a parameter [rows][columns] as [rows][K + 1][columns].
    const auto take = [&](int64_t rows, int64_t columns) {
      T* const to = storage;
      storage += (order + 1) * rows * columns;
      for (int64_t r = 0; r < rows; ++r) {
        const T* from = parameters[weight.size() + bias.size()] + r * columns;
        T factorial = 1;
        for (int64_t k = 0; k <= order; ++k) {
          T* const row = to + (r * (order + 1) + k) * columns;
          for (int64_t c = 0; c < columns; ++c) row[c] = from[c] / factorial;
          from = path + k * size + offset + r * columns;
          factorial *= static_cast<T>(k + 1);
        }
      }
      offset += rows * columns;
      return to;
    };
    for (int64_t l = 0; l < network.layers(); ++l) {
      const int64_t in = network.width[l], out = network.width[l + 1];
      weight.push_back(take(out, in));
      bias.push_back(take(1, out));
    }
    factor = take(1, factors);
    for (int64_t l = 0; l < network.layers(); ++l) {
      const int64_t out = network.width[l + 1], depth = (order + 1) * network.width[l];
      packed.emplace_back(Strided<T>{weight[l], depth, 1}, out, depth, storage);
      storage += PackedMatrix<T>::storage(out, depth);
    }
  }
};

// The points of a tile: what is stored for them leaves half of the second-level cache to the
// weights.
template <class T>
TileShape<T> path_tile_shape(const Network& network, int64_t order, int64_t threads) {
  const int64_t share = round_up((network.points + threads - 1) / threads, lanes<T>());
  const int64_t widest = *std::max_element(network.width.begin(), network.width.end());
  const int64_t bytes = 2 * (order + 1) * widest * network.plan.channels * sizeof(T);
  const int64_t points = caches().level2 / 2 / bytes / lanes<T>() * lanes<T>();
  return {network, std::clamp<int64_t>(points, lanes<T>(), share)};
}

// One thread's tile.
template <class T>
class PathTile {
 public:
  static int64_t widest(const Network& network) {
    return *std::max_element(network.width.begin() + 1, network.width.end());
  }
  static int64_t storage(const Network& network, int64_t order, const TileShape<T>& shape) {
    return network.inputs() * shape.input_stride(network) +
           2 * (order + 1) * widest(network) * shape.stride + (kMaxDerivative + 1) * shape.points;
  }

  PathTile(const Network& network, int64_t order, const PathParameters<T>& parameters,
           const PathRows<T>& rows, const TileShape<T>& shape, T* storage)
      : network_(network),
        order_(order),
        parameters_(parameters),
        rows_(rows),
        shape_(shape),
        input_stride_(shape.input_stride(network)),
        x_(storage),
        z_(x_ + network.inputs() * input_stride_),
        a_(z_ + (order + 1) * widest(network) * shape.stride),
        f_(a_ + (order + 1) * widest(network) * shape.stride) {}

  const TileShape<T>& shape() const { return shape_; }
  const Network& network() const { return network_; }
  const PathRows<T>& rows() const { return rows_; }
  int64_t order() const { return order_; }
  const T* input(int64_t d) const { return x_ + d * input_stride_; }
  // Channel c of output o, [P].
  Coefficients<T> output(int64_t o, int64_t c) const {
    return {z_ + o * shape_.stride + c * shape_.points, network_.outputs() * shape_.stride};
  }

  // As Tile::load.
  void load(const T* x, int64_t first, int64_t n) {
    shape_.points = round_up(n, lanes<T>());
    shape_.columns = network_.plan.channels * shape_.points;
    load_points(network_, x, first, n, x_, input_stride_, shape_.points);
  }

  // Fills output(o, c).
  void forward() {
    first_layer();
    for (int64_t l = 1; l < network_.layers(); ++l) {
      activate(l - 1);
      const int64_t in = network_.width[l];
      for (int64_t k = 0; k <= order_; ++k)
        product(l, 0, (k + 1) * in, a_ + (order_ - k) * in * shape_.stride, k);
    }
    const T* const bias = parameters_.bias.back();
    const int64_t outputs = network_.outputs();
    for (int64_t k = 0; k <= order_; ++k)
      for (int64_t o = 0; o < outputs; ++o) {
        T* const row = z_ + (k * outputs + o) * shape_.stride;
        const Vec<T> shift(bias[k * outputs + o]);
        for (int64_t p = 0; p < shape_.points; p += lanes<T>())
          (Vec<T>::loadu(row + p) + shift).store(row + p);
      }
  }

 private:
  // Coefficient k of layer l's outputs: its weights' columns from `begin` on, times rows of `from`.
  void product(int64_t l, int64_t begin, int64_t depth, const T* from, int64_t k) {
    multiply(parameters_.packed[l].columns(begin, depth), from, shape_.stride,
             z_ + k * network_.width[l + 1] * shape_.stride, shape_.stride,
             shape_.columns / lanes<T>());
  }

  // The inputs are the same all along the path.
  void first_layer() {
    const int64_t in = network_.inputs(), out = network_.width[1];
    for (int64_t k = 0; k <= order_; ++k) {
      if (network_.has_jet_x)
        product(0, k * in, in, x_, k);
      else
        first_layer_of_points(network_, shape_, x_, input_stride_, parameters_.weight[0] + k * in,
                              (order_ + 1) * in, z_ + k * out * shape_.stride);
    }
  }

  void activate(int64_t l) {
    const int64_t units = network_.width[l + 1], stride = shape_.stride;
    for (int64_t i = 0; i < units; ++i) {
      const Coefficients<const T> z{z_ + i * stride, units * stride},
          bias{parameters_.bias[l] + i, units};
      rows_.evaluate(shape_.points, *bias.first, z.first, f_);
      rows_.jet(network_.plan, shape_.points, f_, bias, z,
                {a_ + (order_ * units + i) * stride, -units * stride});
    }
  }

  const Network& network_;
  int64_t order_;  // K
  const PathParameters<T>& parameters_;
  const PathRows<T>& rows_;
  TileShape<T> shape_;
  int64_t input_stride_;
  T *x_,    // [D][input_stride_]
      *z_,  // [K + 1][O][stride]: a layer's outputs
      *a_,  // [K + 1][O][stride]: their activations, from the last coefficient to the first
      *f_;  // derivatives of a unit's activation
};

// One thread's evaluation of a program on tiles, as in residual_pass.h.
template <class T>
class ResidualPath {
 public:
  static int64_t storage(const ResidualProgram& program, int64_t order, int64_t points) {
    return static_cast<int64_t>(program.values.size()) * (order + 1) * points;
  }

  // factor [K + 1][Q], columns [R, N]
  ResidualPath(const ResidualProgram& program, const T* factor, int64_t factors, const T* columns,
               const PathTile<T>& tile, T* storage)
      : program_(program), columns_(columns), tile_(tile) {
    const int64_t points = tile.shape().points, K = tile.order();
    for (const Instruction& in : program.values) {
      T* const own = storage;
      storage += (K + 1) * points;
      value_.push_back({own, points});
      std::fill_n(own, (K + 1) * points, T(0));
      if (in.opcode == kConstant) std::fill_n(own, points, static_cast<T>(program.constants[in.a]));
      for (int64_t k = 0; k <= K && in.opcode == kCoefficient; ++k)
        std::fill_n(own + k * points, points, factor[k * factors + in.a]);
    }
  }

  // From the outputs of the tile, whose n points begin at `first`: the derivatives of the
  // residuals into result [K, E, N].
  void evaluate(int64_t first, int64_t n, T* result) {
    for (size_t i = 0; i < program_.values.size(); ++i) forward(i, first, n);
    const int64_t K = tile_.order(), equations = static_cast<int64_t>(program_.residuals.size());
    for (int64_t e = 0; e < equations; ++e) {
      const Coefficients<T> value = value_[program_.residuals[e]];
      T factorial = 1;
      for (int64_t k = 1; k <= K; ++k) {
        factorial *= static_cast<T>(k);
        T* const to = result + ((k - 1) * equations + e) * tile_.network().points + first;
        for (int64_t p = 0; p < n; ++p) to[p] = factorial * value.first[k * value.distance + p];
      }
    }
  }

 private:
  void forward(size_t i, int64_t first, int64_t n) {
    const Instruction& in = program_.values[i];
    const int64_t points = tile_.shape().points;
    T* const own = value_[i].first;
    if (in.opcode == kChannel) value_[i] = tile_.output(in.b, tile_.network().plan.output[in.a]);
    if (in.opcode == kInput) std::copy_n(tile_.input(in.a), points, own);
    if (in.opcode == kColumn) {
      std::copy_n(columns_ + in.a * tile_.network().points + first, n, own);
      std::fill(own + n, own + points, own[n - 1]);
    }
    if (in.opcode <= kColumn) return;
    tile_.rows().function(in.opcode, points, as_const(in.a), as_const(in.b), value_[i]);
  }

  Coefficients<const T> as_const(int64_t i) const { return {value_[i].first, value_[i].distance}; }

  const ResidualProgram& program_;
  const T* columns_;
  const PathTile<T>& tile_;
  std::vector<Coefficients<T>> value_;  // [values] each [P]: own storage, or the tile's outputs
};

}  // namespace pyneural::jet
