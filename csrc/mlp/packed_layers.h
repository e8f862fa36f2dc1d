// The layers of a network as the products of a call on the CPU need them.
//
// Letters: I and O a layer's inputs and outputs, n rows of points. Activations are stored unit by
// unit, [O][n], so that vectors run along the rows.
#pragma once

#include <optional>
#include <vector>

#include "../common/activation_rows.h"
#include "../common/panels.h"
#include "../common/scratch.h"
#include "mlp_check.h"

namespace pyneural::mlp {

template <class T>
struct Layer {
  int64_t in, out;
  int64_t offset;  // of its weight in the parameters; the bias follows
  std::optional<PackedMatrix<T>> forward, backward;  // W [O, I] and its transpose
  at::Tensor bias;
  Activate<T> activate;
  ActivateBackward<T> activate_backward;
  bool saves_z;  // f' is no function of a

  // a [O][n] = f(W below + bias + more) of the layer below [I][n], rows `stride` apart; more [O][n]
  // and z, that of f, where they are not null.
  void compute(const T* below, const T* bias, const T* more, T* z, T* a, int64_t stride,
               int64_t vectors) const {
    multiply(*forward, below, stride, a, stride, vectors,
             [&](int64_t unit, int64_t units, int64_t vector, int64_t count) {
               const int64_t at = unit * stride + vector * lanes<T>();
               if (more) add_rows(units, count, more + at, a + at, stride);
               activate(units, count, bias + unit, z ? z + at : nullptr, a + at, stride);
             });
  }

 private:
  static void add_rows(int64_t rows, int64_t vectors, const T* from, T* to, int64_t stride) {
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t n = m * stride; n < m * stride + vectors * lanes<T>(); n += lanes<T>())
        (Vec<T>::loadu(to + n) + Vec<T>::loadu(from + n)).store(to + n);
  }
};

template <class T>
std::vector<Layer<T>> make_layers(Scratch& scratch, const Network& network, at::TensorList weights,
                                  at::TensorList biases, bool with_backward) {
  std::vector<Layer<T>> layers;
  int64_t offset = 0;
  for (int64_t l = 0; l < network.layers(); ++l) {
    Layer<T> layer{};
    const int64_t in = layer.in = network.width[l], out = layer.out = network.width[l + 1];
    layer.offset = offset;
    offset += out * (in + 1);
    const at::Tensor weight = weights[l].contiguous();
    const T* const w = weight.const_data_ptr<T>();
    layer.forward.emplace(Strided<T>{w, in, 1}, out, in,
                          scratch.take<T>(PackedMatrix<T>::storage(out, in)));
    if (with_backward)
      layer.backward.emplace(Strided<T>{w, 1, in}, in, out,
                             scratch.take<T>(PackedMatrix<T>::storage(in, out)));
    layer.bias = biases[l].contiguous();
    layer.saves_z = needs_preactivation(network.activation(l));
    visit_activation(network.activation(l), [&](auto f) {
      layer.activate = activate<decltype(f), T>;
      layer.activate_backward = activate_backward<decltype(f), T>;
    });
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace pyneural::mlp
