// The field of a continuous flow as the products of a call need it, and its gradients.
//
// Letters: D features, C columns of the context, F frequencies, I = 2 F + D + C inputs of the
// network, H_1 and H units of the first and of the last hidden layer (one and the same where there
// is only one).
#pragma once

#include <ATen/ops/matmul.h>

#include <optional>

#include "../common/panels.h"
#include "../common/scratch.h"
#include "continuous_flow_check.h"

namespace pyneural::continuous_flow {

// The trace of du/dx is f'(z)^T q at the last hidden layer: with two of them q = M f'(z_1),
//   M = W_2 o (W_1x W_3)^T  [H, H_1],
// and with one it is the same at every point, q = diag(W_1x W_3) [H]. W_1x are the columns of x.
struct Couplings {
  at::Tensor of_x, product, coupling;

  Couplings(const Flow& flow, at::TensorList weights) {
    of_x = weights[0].narrow(1, flow.first_column(), flow.features);
    if (flow.is_deep()) {
      product = at::matmul(of_x, weights[2]);  // [H_1, H]
      coupling = weights[1].mul(product.t()).contiguous();
    } else {
      coupling = of_x.mul(weights[1].t()).sum(1);
    }
  }

  // Adds to the gradients of the weights, in place, what that of the coupling is to them.
  void add_gradients(const Flow& flow, at::TensorList weights, const at::Tensor& grad,
                     const std::vector<at::Tensor>& grad_weights) const {
    const at::Tensor grad_of_x = grad_weights[0].narrow(1, flow.first_column(), flow.features);
    if (flow.is_deep()) {
      grad_weights[1].add_(grad.mul(product.t()));
      const at::Tensor grad_product = grad.mul(weights[1]).t();  // [H_1, H]
      grad_of_x.add_(at::matmul(grad_product, weights[2].t()));
      grad_weights[2].add_(at::matmul(of_x.t(), grad_product));
    } else {
      grad_of_x.add_(grad.unsqueeze(1).mul(weights[1].t()));
      grad_weights[1].add_(of_x.t().mul(grad));
    }
  }
};

template <class T>
class Field {
 public:
  // Parameters and coupling are contiguous, and live as long as this.
  Field(const Flow& flow, at::TensorList weights, at::TensorList biases, const at::Tensor& coupling,
        bool with_backward, Scratch& scratch)
      : deep(flow.is_deep()),
        inputs(flow.width[0]),
        first_units(flow.width[1]),
        last_units(flow.last_hidden()),
        first(weights[0].const_data_ptr<T>()),
        bias{biases.front().const_data_ptr<T>(), biases[biases.size() - 2].const_data_ptr<T>(),
             biases.back().const_data_ptr<T>()},
        coupling(coupling.const_data_ptr<T>()) {
    const int64_t D = flow.features, C = flow.context, x = flow.first_column(), c = x + D;
    const T *const second = weights[1].const_data_ptr<T>(), *const last =
                                                                weights.back().const_data_ptr<T>();
    const auto pack = [&](std::optional<PackedMatrix<T>>& to, const Strided<T>& a, int64_t rows,
                          int64_t depth) {
      to.emplace(a, rows, depth, scratch.take<T>(PackedMatrix<T>::storage(rows, depth)));
    };
    // A matrix [rows, depth] and its transpose, of `stride` columns.
    const auto rows_of = [](const T* data, int64_t stride) { return Strided<T>{data, stride, 1}; };
    const auto columns_of = [](const T* data, int64_t stride) {
      return Strided<T>{data, 1, stride};
    };
    pack(of_x, rows_of(first + x, inputs), first_units, D);
    if (C > 0) pack(of_context, rows_of(first + c, inputs), first_units, C);
    if (deep) pack(of_first, rows_of(second, first_units), last_units, first_units);
    if (deep && flow.with_ladj)
      pack(coupled, rows_of(this->coupling, first_units), last_units, first_units);
    pack(of_last, rows_of(last, last_units), D, last_units);
    if (!with_backward) return;
    pack(to_x, columns_of(first + x, inputs), D, first_units);
    if (C > 0) pack(to_context, columns_of(first + c, inputs), C, first_units);
    if (deep) pack(to_first, columns_of(second, first_units), first_units, last_units);
    if (deep && flow.with_ladj)
      pack(coupled_back, columns_of(this->coupling, first_units), first_units, last_units);
    pack(to_last, columns_of(last, last_units), last_units, D);
  }

  const bool deep;
  const int64_t inputs, first_units, last_units;     // I, H_1, H
  const T* const first;                              // W_1, [H_1][I]
  const T* const bias[3];                            // [H_1], [H], [D]
  const T* const coupling;                           // [H][H_1], or [H] with one hidden layer
  std::optional<PackedMatrix<T>> of_x, of_context;   // [H_1, D], [H_1, C]
  std::optional<PackedMatrix<T>> of_first, coupled;  // [H, H_1], W_2 and M, with two hidden layers
  std::optional<PackedMatrix<T>> of_last;            // [D, H]
  std::optional<PackedMatrix<T>> to_x, to_context, to_first, coupled_back, to_last;  // transposes
};

// Where the gradients of a share lie: those of the parameters as they are returned, then that of
// the coupling.
template <class T>
struct Gradients {
  Gradients(const Flow& flow, T* data) {
    const int64_t last = flow.layers() - 1;
    for (int64_t l = 0; l <= last; ++l) {
      T* const bias_at = data + flow.width[l] * flow.width[l + 1];
      (l == 0 ? first : l == last ? of_last : second) = data;
      (l == 0 ? first_bias : l == last ? last_bias : second_bias) = bias_at;
      data = bias_at + flow.width[l + 1];
    }
    coupling = data;
  }
  static int64_t size(const Flow& flow) { return flow.parameters + coupling_size(flow); }
  static int64_t coupling_size(const Flow& flow) {
    return flow.is_deep() ? flow.width[1] * flow.width[2] : flow.width[1];
  }

  T *first, *second = nullptr, *of_last;              // [H_1][I], [H][H_1], [D][H]
  T *first_bias, *second_bias = nullptr, *last_bias;  // [H_1], [H], [D]
  T* coupling;                                        // [H][H_1] or [H]
};

}  // namespace pyneural::continuous_flow
