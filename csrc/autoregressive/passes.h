// What the passes through the layers of a flow share: transforms, threads, gradients of parameters.
#pragma once

#include "../common/parallel.h"
#include "backward.h"
#include "forward.h"

namespace pyneural::autoregressive {

template <class T, class Body>
void with_transform(const FlowLayer& layer, const Body& body) {
  if (layer.transform == TransformKind::affine)
    body(make_affine<T>(layer.slope, layer.inverse));
  else
    body(spline::make_spline<T>((layer.parameters_of_feature + 1) / 3, layer.bound, layer.slope,
                                layer.inverse));
}

inline int64_t threads_for(const Flow& flow) {
  constexpr int64_t kMultiplyAdds = 15;  // that the transform of a parameter takes as long as
  int64_t of_row = flow.parameters / 2;
  for (const FlowLayer& layer : flow.layers) of_row += kMultiplyAdds * layer.width.back();
  const double work = static_cast<double>(flow.rows) * static_cast<double>(of_row);
  return std::min(flow.rows, useful_threads(work));
}

template <class T>
T* at_row(T* rows, int64_t row, int64_t columns) {
  return rows ? rows + row * columns : nullptr;
}

// Where the sorted gradients of each layer begin, and their size.
template <class T>
std::vector<int64_t> gradients_at(const std::vector<Conditioner<T>>& networks) {
  std::vector<int64_t> at{0};
  for (const Conditioner<T>& network : networks) at.push_back(at.back() + network.gradient_size());
  return at;
}

// The sum of a layer's gradients of all threads, `part` elements apart, flat, where the parameters
// were before they were sorted; 0 where masked. Adds to those of the first thread.
template <class T>
void add_and_unsort(const Conditioner<T>& network, int64_t threads, int64_t part, T* sorted,
                    T* to) {
  const int64_t size = network.gradient_size();
  for (int64_t thread = 1; thread < threads; ++thread)
    for (int64_t i = 0; i < size; ++i) sorted[i] += sorted[thread * part + i];
  for (const MaskedLayer<T>& layer : network.layers) {
    const T* from = sorted + layer.offset;
    T* const bias = to + layer.out * layer.in;
    for (int64_t o = 0; o < layer.out; ++o, from += layer.in_stride) {
      T* const row = to + layer.output_at[o] * layer.in;
      const int64_t visible = layer.visible[o];
      if (layer.in_order) {
        std::fill(std::copy_n(from, visible, row), row + layer.in, T(0));
        continue;
      }
      for (int64_t i = 0; i < layer.in; ++i) {
        const T gradient = from[layer.input_row[i]];
        row[i] = layer.input_row[i] < visible ? gradient : T(0);
      }
    }
    for (int64_t o = 0; o < layer.out; ++o) bias[layer.output_at[o]] = from[o];
    to = bias + layer.out;
  }
}

}  // namespace pyneural::autoregressive
