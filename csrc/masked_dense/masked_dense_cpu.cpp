// The sparsely connected layer on the CPU, forward and backward.
//
// Letters: N rows, I inputs, O outputs, E edges, P points of a tile. A tile of rows is transposed,
// [I][P], so that an edge is one multiply-add of vectors of points, whatever it connects. Threads
// take shares of the tiles, each with gradients that are added in the order of the shares. Too few
// rows to fill a vector go one by one, and an edge is one multiply-add.
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <vector>

#include "../common/activation_rows.h"
#include "../common/dispatch.h"
#include "../common/results.h"
#include "../common/shares.h"
#include "../common/transpose.h"
#include "masked_dense_check.h"

namespace pyneural::masked_dense {
namespace {

constexpr int kTileVectorsOfPoints = 4;  // enough independent sums to hide a multiply-add's latency
template <class T>
constexpr int64_t kPoints = kTileVectorsOfPoints * lanes<T>();  // P

// Up to so many rows go one by one: a row and edge cost about as much as a tile's vector and edge.
constexpr int64_t kFewRows = kTileVectorsOfPoints;

template <class T>
struct Edges {
  const int64_t* starts;  // [O + 1]
  const int64_t* inputs;  // [E]
  const T* values;        // [E]
};

// to [columns][P] = from [n, columns] transposed, zero beyond the n points.
template <class T>
void load_tile(const T* from, int64_t n, int64_t columns, T* to) {
  if (n < kPoints<T>) std::fill_n(to, columns * kPoints<T>, T(0));
  transpose(from, columns, n, columns, to, kPoints<T>);
}
template <class T>
void store_tile(const T* from, int64_t n, int64_t columns, T* to) {
  transpose(from, kPoints<T>, columns, n, to, columns);
}

// z [O][P] = W x + b.
template <class T>
void multiply_edges(const Edges<T>& edges, int64_t outputs, const T* x, const T* bias, T* z) {
  for (int64_t o = 0; o < outputs; ++o, z += kPoints<T>) {
    Register<T> sum[kTileVectorsOfPoints] = {};
    for (auto& s : sum) s += bias ? bias[o] : T(0);
    for (int64_t e = edges.starts[o]; e < edges.starts[o + 1]; ++e) {
      const T* const point = x + edges.inputs[e] * kPoints<T>;
      const T value = edges.values[e];
      for (int v = 0; v < kTileVectorsOfPoints; ++v)
        sum[v] += value * as_register(point + v * lanes<T>());
    }
    for (int v = 0; v < kTileVectorsOfPoints; ++v) as_register(z + v * lanes<T>()) = sum[v];
  }
}

// grad_x [I][P] += W^T grad_z.
template <class T>
void multiply_transposed_edges(const Edges<T>& edges, int64_t outputs, const T* grad_z, T* grad_x) {
  for (int64_t o = 0; o < outputs; ++o, grad_z += kPoints<T>)
    for (int64_t e = edges.starts[o]; e < edges.starts[o + 1]; ++e) {
      T* const to = grad_x + edges.inputs[e] * kPoints<T>;
      const T value = edges.values[e];
      for (int v = 0; v < kTileVectorsOfPoints; ++v)
        as_register(to + v * lanes<T>()) += value * as_register(grad_z + v * lanes<T>());
    }
}

// grad_values[e] += sum over the points of grad_z[o] x[inputs[e]].
template <class T>
void add_edge_gradients(const Edges<T>& edges, int64_t outputs, const T* grad_z, const T* x,
                        T* grad_values) {
  constexpr int64_t kSums = 4;  // of a call of add_lane_sums
  for (int64_t o = 0; o < outputs; ++o, grad_z += kPoints<T>)
    for (int64_t e = edges.starts[o]; e < edges.starts[o + 1]; e += kSums) {
      const int64_t count = std::min<int64_t>(kSums, edges.starts[o + 1] - e);
      Register<T> sum[kSums] = {};
      for (int64_t i = 0; i < count; ++i) {
        const T* const point = x + edges.inputs[e + i] * kPoints<T>;
        for (int v = 0; v < kTileVectorsOfPoints; ++v)
          sum[i] += as_register(grad_z + v * lanes<T>()) * as_register(point + v * lanes<T>());
      }
      if (count == kSums) {
        add_lane_sums<T>(sum, grad_values + e);
      } else {
        T sums[kSums] = {};
        add_lane_sums<T>(sum, sums);
        for (int64_t i = 0; i < count; ++i) grad_values[e + i] += sums[i];
      }
    }
}

// body(share, first row, number of rows) for each tile.
template <class T>
class Tiles {
 public:
  explicit Tiles(const Layer& layer)
      : rows_(layer.rows),
        tiles_((layer.rows + kPoints<T> - 1) / kPoints<T>),
        threads_(std::min(tiles_, useful_threads(work_of(layer)))),
        shares_(
            Shares::with_sums(tiles_, threads_, layer.edges * static_cast<int64_t>(sizeof(T)))) {}

  int64_t shares() const { return shares_.count(); }

  // prepare() gives a thread its body.
  template <class Prepare>
  void run(const Prepare& prepare) const {
    parallel_takers(shares(), threads_, [&](int64_t, Tasks& tasks) {
      auto body = prepare();
      while (const auto share = tasks.take())
        for (int64_t i = shares_.begin(*share); i < shares_.end(*share); ++i)
          body(*share, i * kPoints<T>, std::min(kPoints<T>, rows_ - i * kPoints<T>));
    });
  }

 private:
  static double work_of(const Layer& layer) {
    return static_cast<double>(layer.rows) *
           static_cast<double>(layer.edges + layer.in + layer.out);
  }

  int64_t rows_, tiles_, threads_;
  Shares shares_;
};

// z [O] = W x + b of a row.
template <class T>
void multiply_row(const Edges<T>& edges, int64_t outputs, const T* x, const T* bias, T* z) {
  constexpr int64_t kSums = 4;  // enough to hide a multiply-add's latency
  for (int64_t o = 0; o < outputs; ++o) {
    T sum[kSums] = {bias ? bias[o] : T(0)};
    int64_t e = edges.starts[o];
    const int64_t end = edges.starts[o + 1];
    for (; e + kSums <= end; e += kSums)
      for (int64_t i = 0; i < kSums; ++i) sum[i] += edges.values[e + i] * x[edges.inputs[e + i]];
    for (; e < end; ++e) sum[0] += edges.values[e] * x[edges.inputs[e]];
    z[o] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  }
}

// grad_values [E] += grad_z x^T at the edges, and grad_x [I] += W^T grad_z where it is not null.
template <class T>
void add_row_gradients(const Edges<T>& edges, int64_t outputs, const T* grad_z, const T* x,
                       T* grad_values, T* grad_x) {
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t e = edges.starts[o]; e < edges.starts[o + 1]; ++e) {
      grad_values[e] += grad_z[o] * x[edges.inputs[e]];
      if (grad_x) grad_x[edges.inputs[e]] += edges.values[e] * grad_z[o];
    }
}

template <class T>
void forward_few(const Layer& layer, const Edges<T>& edges, const T* x, const T* bias,
                 Activate<T> f, T* y, T* z) {
  const int64_t I = layer.in, O = layer.out;
  std::vector<T> row(whole_vectors<T>(O));
  for (int64_t n = 0; n < layer.rows; ++n) {
    multiply_row(edges, O, x + n * I, bias, row.data());
    if (z) std::copy_n(row.data(), O, z + n * O);
    f(1, vectors_of<T>(O), nullptr, nullptr, row.data(), 0);
    std::copy_n(row.data(), O, y + n * O);
  }
}

template <class T>
void backward_few(const Layer& layer, const Edges<T>& edges, const T* grad_y, const T* x,
                  const T* saved, ActivateBackward<T> f, T* grad_x, T* grad_values, T* grad_bias) {
  const int64_t I = layer.in, O = layer.out;
  std::vector<T> grad(whole_vectors<T>(O)), saved_row(whole_vectors<T>(O));
  if (grad_x) std::fill_n(grad_x, layer.rows * I, T(0));
  for (int64_t n = 0; n < layer.rows; ++n) {
    std::copy_n(grad_y + n * O, O, grad.data());
    if (layer.activation != ActivationKind::linear) {
      std::copy_n(saved + n * O, O, saved_row.data());
      f(1, vectors_of<T>(O), saved_row.data(), grad.data(), 0);
    }
    for (int64_t o = 0; o < O; ++o) grad_bias[o] += grad[o];
    add_row_gradients(edges, O, grad.data(), x + n * I, grad_values,
                      grad_x ? grad_x + n * I : nullptr);
  }
}

template <class T>
void forward(const Layer& layer, const Edges<T>& edges, const T* x, const T* bias, T* y, T* z) {
  const int64_t I = layer.in, O = layer.out;
  Activate<T> f = nullptr;
  visit_activation(layer.activation, [&](auto a) { f = activate<decltype(a), T>; });
  if (layer.rows <= kFewRows) return forward_few(layer, edges, x, bias, f, y, z);
  Tiles<T>(layer).run([&] {
    return [&, x_tile = std::vector<T>(I * kPoints<T>), y_tile = std::vector<T>(O * kPoints<T>)](
               int64_t, int64_t first, int64_t n) mutable {
      load_tile(x + first * I, n, I, x_tile.data());
      multiply_edges(edges, O, x_tile.data(), bias, y_tile.data());
      if (z) store_tile(y_tile.data(), n, O, z + first * O);
      f(O, kTileVectorsOfPoints, nullptr, nullptr, y_tile.data(), kPoints<T>);
      store_tile(y_tile.data(), n, O, y + first * O);
    };
  });
}

// grad_x where it is not null, and each share's part of grad_values and grad_bias.
template <class T>
void backward(const Layer& layer, const Tiles<T>& tiles, const Edges<T>& edges, const T* grad_y,
              const T* x, const T* saved, T* grad_x, T* grad_values, T* grad_bias) {
  const int64_t I = layer.in, O = layer.out;
  ActivateBackward<T> f = nullptr;
  visit_activation(layer.activation, [&](auto a) { f = activate_backward<decltype(a), T>; });
  if (layer.rows <= kFewRows)
    return backward_few(layer, edges, grad_y, x, saved, f, grad_x, grad_values, grad_bias);
  const bool is_linear = layer.activation == ActivationKind::linear;
  tiles.run([&] {
    return [&, x_tile = std::vector<T>(I * kPoints<T>), grad_tile = std::vector<T>(O * kPoints<T>),
            saved_tile = std::vector<T>(is_linear ? 0 : O * kPoints<T>)](
               int64_t share, int64_t first, int64_t n) mutable {
      T* const values_part = grad_values + share * layer.edges;
      T* const bias_part = grad_bias + share * O;
      load_tile(grad_y + first * O, n, O, grad_tile.data());
      if (!is_linear) {
        load_tile(saved + first * O, n, O, saved_tile.data());
        f(O, kTileVectorsOfPoints, saved_tile.data(), grad_tile.data(), kPoints<T>);
      }
      for (int64_t o = 0; o < O; ++o) {
        Vec<T> sum(T(0));
        for (int64_t p = 0; p < kPoints<T>; p += lanes<T>())
          sum = sum + Vec<T>::loadu(grad_tile.data() + o * kPoints<T> + p);
        bias_part[o] += lane_sum(sum);
      }
      load_tile(x + first * I, n, I, x_tile.data());
      add_edge_gradients(edges, O, grad_tile.data(), x_tile.data(), values_part);
      if (!grad_x) return;
      std::fill(x_tile.begin(), x_tile.end(), T(0));
      multiply_transposed_edges(edges, O, grad_tile.data(), x_tile.data());
      store_tile(x_tile.data(), n, I, grad_x + first * I);
    };
  });
}

Two masked_dense(const Arguments& a) {
  const Layer layer = check_masked_dense(a);
  const auto [y, z] = empty_outputs(a.x, layer, true);
  if (y.numel() == 0) return {y, z};
  const at::Tensor x = a.x.contiguous(), values = a.values.contiguous(),
                   bias = a.bias ? a.bias->contiguous() : at::Tensor();
  dispatch_floating(x, [&, &y = y, &z = z](auto type) {
    using T = decltype(type);
    const Edges<T> edges{a.starts.const_data_ptr<int64_t>(), a.inputs.const_data_ptr<int64_t>(),
                         values.const_data_ptr<T>()};
    forward<T>(layer, edges, x.const_data_ptr<T>(), data_or_null<const T>(bias), y.data_ptr<T>(),
               data_or_null<T>(z));
  });
  return {y, z};
}

Three masked_dense_backward(const BackwardArguments& b) {
  const Layer layer = check_masked_dense_backward(b);
  const auto options = b.x.options();
  const at::Tensor grad_x = empty_if(b.with_grad_x, b.x.sizes(), b.x);
  if (layer.rows == 0) return {grad_x, at::zeros_like(b.values), at::zeros({layer.out}, options)};
  const at::Tensor grad_y = b.grad_y.contiguous(), x = b.x.contiguous(),
                   values = b.values.contiguous(), saved = b.saved.contiguous();
  at::Tensor grad_values, grad_bias;
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    const Tiles<T> tiles(layer);
    grad_values = at::zeros({tiles.shares(), layer.edges}, options);
    grad_bias = at::zeros({tiles.shares(), layer.out}, options);
    const Edges<T> edges{b.starts.const_data_ptr<int64_t>(), b.inputs.const_data_ptr<int64_t>(),
                         values.const_data_ptr<T>()};
    backward<T>(layer, tiles, edges, grad_y.const_data_ptr<T>(), x.const_data_ptr<T>(),
                saved.const_data_ptr<T>(), data_or_null<T>(grad_x), grad_values.data_ptr<T>(),
                grad_bias.data_ptr<T>());
  });
  return {grad_x, sum_parts(grad_values), sum_parts(grad_bias)};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("masked_dense", FlatOp<masked_dense, ForwardSignature<Two>>::call);
  m.impl("masked_dense_backward", FlatOp<masked_dense_backward, BackwardSignature<Three>>::call);
}

}  // namespace pyneural::masked_dense
