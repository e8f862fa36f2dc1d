// What the passes through the layers of a flow share: threads, gradients of parameters.
#pragma once

#include "../common/shares.h"
#include "backward.h"
#include "forward.h"

namespace pyneural::autoregressive {

inline int64_t threads_for(const Flow& flow) {
  constexpr int64_t kMultiplyAdds = 15;  // that the transform of a parameter takes as long as
  int64_t of_row = flow.parameters / 2;
  for (const FlowLayer& layer : flow.layers) of_row += kMultiplyAdds * layer.width.back();
  const double work = static_cast<double>(flow.rows) * static_cast<double>(of_row);
  return std::min(flow.rows, useful_threads(work));
}

// What the gradients of all parameters take.
template <class T>
int64_t sum_bytes(const Flow& flow) {
  return flow.parameters * static_cast<int64_t>(sizeof(T));
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

// The sum of all shares' gradients of some rows of a matrix, and of their bias, where they were
// before they were sorted; 0 where masked. `sorted` are those of the first share, to which the
// others', each `part` elements on, are added.
template <class T>
void add_and_unsort(const MaskedLayer<T>& layer, Range rows, int64_t shares, int64_t part,
                    T* sorted, T* weight, T* bias) {
  const auto add = [&](T* first, int64_t size) {
    for (int64_t share = 1; share < shares; ++share)
      for (int64_t i = 0; i < size; ++i) first[i] += first[share * part + i];
  };
  for (int64_t o = rows.begin; o < rows.end; ++o) {
    T *const from = sorted + o * layer.in_stride, *const row =
                                                      weight + layer.output_at[o] * layer.in;
    const int64_t visible = layer.visible[o];
    add(from, visible);
    if (layer.in_order) {
      std::fill(std::copy_n(from, visible, row), row + layer.in, T(0));
      continue;
    }
    for (int64_t i = 0; i < layer.in; ++i) {
      const T gradient = from[layer.input_row[i]];
      row[i] = layer.input_row[i] < visible ? gradient : T(0);
    }
  }
  T* const of_bias = sorted + layer.out * layer.in_stride;
  add(of_bias + rows.begin, rows.end - rows.begin);
  for (int64_t o = rows.begin; o < rows.end; ++o) bias[layer.output_at[o]] = of_bias[o];
}

// The same of all matrices of all layers: of the layer l of the flow from sorted + at[l] on, to
// weights and biases, one after the other.
template <class T>
void add_and_unsort(const std::vector<Conditioner<T>>& networks, const std::vector<int64_t>& at,
                    int64_t shares, int64_t threads, T* sorted, const std::vector<T*>& weights,
                    const std::vector<T*>& biases) {
  constexpr int64_t kRows = 32;  // of a task
  struct Task {
    const MaskedLayer<T>& layer;
    Range rows;
    T* sorted;
    size_t matrix;
  };
  std::vector<Task> tasks;
  size_t matrix = 0;
  for (size_t l = 0; l < networks.size(); ++l)
    for (const MaskedLayer<T>& layer : networks[l].layers) {
      for (int64_t o = 0; o < layer.out; o += kRows)
        tasks.push_back(
            {layer, {o, std::min(o + kRows, layer.out)}, sorted + at[l] + layer.offset, matrix});
      ++matrix;
    }
  parallel_tasks(static_cast<int64_t>(tasks.size()), threads, [&](int64_t i) {
    const Task& task = tasks[i];
    add_and_unsort(task.layer, task.rows, shares, at.back(), task.sorted, weights[task.matrix],
                   biases[task.matrix]);
  });
}

}  // namespace pyneural::autoregressive
