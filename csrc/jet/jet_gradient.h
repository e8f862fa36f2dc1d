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

}  // namespace pyneural::jet
