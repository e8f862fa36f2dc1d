// Parameter gradients of a tile's backward, layer by layer: summed over the points, or one a point.
// Parameters are flat: weights[0] [O, I], biases[0] [O], weights[1], ...
#pragma once

#include "jet_tile.h"

namespace pyneural::jet {

inline std::vector<int64_t> parameter_offsets(const Network& network) {
  std::vector<int64_t> offsets{0};
  for (int64_t l = 0; l < network.layers(); ++l)
    offsets.push_back(offsets.back() + network.width[l + 1] * (network.width[l] + 1));
  return offsets;
}

namespace detail {

// to[m * N + n] [points] = sum_c x[m][c] y[n][c] for M rows of x and N of y, each [C][points]; the
// rows of `to` for the next m are y_rows further on.
template <class T, int M, int N>
void product_rows(int64_t channels, int64_t n, int64_t points, const T* __restrict x, int64_t ldx,
                  const T* __restrict y, int64_t ldy, T* __restrict to, int64_t y_rows,
                  int64_t row_stride) {
  for (int64_t p = 0; p < n; p += lanes<T>()) {
    Register<T> sum[M][N] = {};
    for (int64_t c = 0; c < channels; ++c) {
      Register<T> factor[M];
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) factor[m] = as_register(x + m * ldx + c * points + p);
#pragma GCC unroll 8
      for (int k = 0; k < N; ++k) {
        const Register<T> row = as_register(y + k * ldy + c * points + p);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) sum[m][k] += factor[m] * row;
      }
    }
    const int64_t count = std::min(lanes<T>(), n - p);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int k = 0; k < N; ++k) {
        T* const at = to + (m * y_rows + k) * row_stride + p;
        if (count == lanes<T>())
          as_register(at) = sum[m][k];
        else
          std::memcpy(at, &sum[m][k], count * sizeof(T));
      }
  }
}

template <class T>
constexpr auto kProductRows = pyneural::detail::tiles_by_shape<kDotRows, kDotColumns>(
    []<int m, int n>() { return &product_rows<T, m, n>; });

}  // namespace detail

// to[m * y_rows + k] [n] = sum_c x[m][c] y[k][c] for m < x_rows, k < y_rows: rows of x and y are
// [channels][points], those of `to` row_stride elements apart.
template <class T>
void store_products(int64_t x_rows, int64_t y_rows, int64_t channels, int64_t n, int64_t points,
                    const T* x, int64_t ldx, const T* y, int64_t ldy, T* to, int64_t row_stride) {
  for (int64_t m = 0; m < x_rows; m += kDotRows) {
    const int64_t rows = std::min<int64_t>(kDotRows, x_rows - m);
    for (int64_t k = 0; k < y_rows; k += kDotColumns) {
      const int64_t columns = std::min<int64_t>(kDotColumns, y_rows - k);
      detail::kProductRows<T>[(rows - 1) * kDotColumns + columns - 1](
          channels, n, points, x + m* ldx, ldx, y + k* ldy, ldy, to + (m* y_rows + k)* row_stride,
          y_rows, row_stride);
    }
  }
}

template <class T>
void clear_grad_output(Tile<T>& tile) {
  for (int64_t o = 0; o < tile.network().outputs(); ++o)
    std::fill_n(tile.grad_output(o, 0), tile.shape().columns, T(0));
}

// grad [P] += the sum over the tile's points of layer l's part.
template <class T>
void add_parameter_grad(Tile<T>& tile, int64_t l, const T* grad_z, const T* a, T* grad) {
  const Network& network = tile.network();
  const int64_t in = network.width[l], out = network.width[l + 1];
  const int64_t points = tile.shape().points, stride = tile.shape().stride;
  const auto row_sum = [&](int64_t o, int64_t c) {
    Vec<T> sum(T(0));
    for (int64_t p = 0; p < points; p += lanes<T>())
      sum = sum + Vec<T>::loadu(grad_z + o * stride + c * points + p);
    return lane_sum<T>(sum);
  };
  if (a) {
    accumulate_dots(out, in, tile.shape().columns / lanes<T>(), grad_z, stride, a, stride, grad,
                    in);
  } else {
    accumulate_dots(out, in, points / lanes<T>(), grad_z, stride, tile.input(0),
                    tile.input_stride(), grad, in);
    const Plan& plan = network.plan;
    for (int s = 0; s < plan.seeds; ++s)
      for (int64_t o = 0; o < out; ++o)
        grad[o * in + plan.seed[s].input] +=
            static_cast<T>(plan.seed_coefficient[s]) * row_sum(o, plan.seed[s].channel);
  }
  for (int64_t o = 0; o < out; ++o) grad[out * in + o] += row_sum(o, 0);
}

// The tile's n points from `first` on into grad_x [N, D] or, of a jet, [C, N, D], from what
// Tile::input_grad gives.
template <class T>
void store_input_grad(const Tile<T>& tile, const T* from, int64_t first, int64_t n, T* grad_x) {
  const Network& network = tile.network();
  const int64_t inputs = network.inputs(), points = tile.shape().points;
  const int channels = network.has_jet_x ? network.plan.channels : 1;
  const int64_t stride = network.has_jet_x ? tile.shape().stride : points;
  for (int c = 0; c < channels; ++c)
    for (int64_t p = 0; p < n; ++p)
      for (int64_t d = 0; d < inputs; ++d)
        grad_x[(c * network.points + first + p) * inputs + d] = from[d * stride + c * points + p];
}

// Point p's gradient of layer l's part into grad [P]; `column` holds C * I elements.
template <class T>
void point_parameter_grad(Tile<T>& tile, int64_t l, const T* grad_z, const T* a, int64_t p,
                          T* column, T* grad) {
  const Plan& plan = tile.network().plan;
  const int64_t in = tile.network().width[l], out = tile.network().width[l + 1];
  const int64_t points = tile.shape().points, stride = tile.shape().stride;
  for (int64_t i = 0; i < in; ++i)
    for (int64_t c = 0; c < plan.channels; ++c)
      column[c * in + i] = a        ? a[i * stride + c * points + p]
                           : c == 0 ? tile.input(i)[p]
                                    : plan.template direction<T>(c, i);
  for (int64_t o = 0; o < out; ++o) {
    T* const row = grad + o * in;
    std::fill_n(row, in, T(0));
    for (int64_t c = 0; c < plan.channels; ++c) {
      const T factor = grad_z[o * stride + c * points + p];
      for (int64_t i = 0; i < in; ++i) row[i] += factor * column[c * in + i];
    }
    grad[out * in + o] = grad_z[o * stride + p];
  }
}

// Every point's gradient of layer l's part, a parameter after the other: rows [P] of `stride`
// elements each, of which the first n, the tile's points, are written. A row of weight (o, i) is
// sum_c grad_z[o][c] a[i][c].
template <class T>
void store_point_grads(Tile<T>& tile, int64_t l, const T* grad_z, const T* a, int64_t n, T* rows,
                       int64_t row_stride) {
  const Network& network = tile.network();
  const Plan& plan = network.plan;
  const int64_t in = network.width[l], out = network.width[l + 1];
  const int64_t points = tile.shape().points, stride = tile.shape().stride;
  if (a) {
    store_products(out, in, plan.channels, n, points, grad_z, stride, a, stride, rows, row_stride);
  } else {
    store_products(out, in, 1, n, points, grad_z, stride, tile.input(0), tile.input_stride(), rows,
                   row_stride);
    for (int s = 0; s < plan.seeds; ++s) {
      const auto [channel, input] = plan.seed[s];
      const T coefficient = static_cast<T>(plan.seed_coefficient[s]);
      for (int64_t o = 0; o < out; ++o) {
        const T* const from = grad_z + o * stride + channel * points;
        T* const to = rows + (o * in + input) * row_stride;
        for (int64_t p = 0; p < n; ++p) to[p] += coefficient * from[p];
      }
    }
  }
  for (int64_t o = 0; o < out; ++o)
    std::copy_n(grad_z + o * stride, n, rows + (out * in + o) * row_stride);
}

}  // namespace pyneural::jet
