// The cells of recurrent layers, a vector of hidden units at a time: one step, and its gradients.
//
// A cell is a struct with
//   kGates   gates of its weights, [kGates * H, .], in torch's order
//   kBlocks  what a step's gates are made of: where a gate takes its two products apart (gru's n)
//            there is a block more. Block b < kGates is the hidden product's; the input product's
//            gate g goes to input_block(g).
//   kSaved   values that a step saves for the backward, for each unit
//   kHasCellState, whether there is c
//   step(z, h, c, saved)           z [kBlocks] to the new h; c and saved [kSaved] are overwritten
//   gradients(saved, at, dh, dc, grad)
//            grad [kBlocks] of z; dh and dc become the gradients that reach the step before on
//            other paths than through z
//
// V is a vector of the host or a scalar of the device.
#pragma once

#include "../common/activation.h"

namespace pyneural::rnn {

enum class CellKind : int32_t { tanh, relu, lstm, gru };

// 1 / (1 + exp(-z)) by the tanh, as good as exact beside 1, which is what a gate is measured by.
template <class V>
PYNEURAL_INLINE V gate(V z) {
  return V(0.5) * Math<V>::tanh(V(0.5) * z) + V(0.5);
}

// Further values that the gradients of a step may depend on.
template <class V>
struct At {
  V h, h_before, c_before;
};

// h = f(z).
template <class Activation>
struct Simple {
  static constexpr int kGates = 1, kBlocks = 1, kSaved = 0;
  static constexpr bool kHasCellState = false;
  static constexpr int input_block(int g) { return g; }

  template <class V>
  PYNEURAL_INLINE static V step(const V* z, V, V&, V*) {
    V f[1];
    Activation::template evaluate<0>(z[0], f);
    return f[0];
  }
  template <class V>
  PYNEURAL_INLINE static void gradients(const V*, const At<V>& at, V& dh, V&, V* grad) {
    grad[0] = multiply_by_slope<Activation>(dh, at.h);
    dh = V(0);
  }
};

// c = f c + i g, h = o tanh(c).
struct Lstm {
  static constexpr int kGates = 4, kBlocks = 4, kSaved = 5;
  static constexpr bool kHasCellState = true;
  static constexpr int input_block(int g) { return g; }

  template <class V>
  PYNEURAL_INLINE static V step(const V* z, V, V& c, V* saved) {
    saved[0] = gate(z[0]);
    saved[1] = gate(z[1]);
    saved[2] = Math<V>::tanh(z[2]);
    saved[3] = gate(z[3]);
    saved[4] = c = saved[1] * c + saved[0] * saved[2];
    return saved[3] * Math<V>::tanh(c);
  }
  template <class V>
  PYNEURAL_INLINE static void gradients(const V* saved, const At<V>& at, V& dh, V& dc, V* grad) {
    const V i = saved[0], f = saved[1], g = saved[2], o = saved[3],
            tanh_c = Math<V>::tanh(saved[4]);
    const V one(1);
    dc = dc + dh * o * (one - tanh_c * tanh_c);
    grad[0] = dc * g * i * (one - i);
    grad[1] = dc * at.c_before * f * (one - f);
    grad[2] = dc * i * (one - g * g);
    grad[3] = dh * tanh_c * o * (one - o);
    dc = dc * f;
    dh = V(0);
  }
};

// n = tanh(x-part + r (h-part)), h = (1 - z) n + z h; blocks r, z, h-part and x-part of n.
struct Gru {
  static constexpr int kGates = 3, kBlocks = 4, kSaved = 4;
  static constexpr bool kHasCellState = false;
  static constexpr int input_block(int g) { return g < 2 ? g : 3; }

  template <class V>
  PYNEURAL_INLINE static V step(const V* z, V h, V&, V* saved) {
    saved[0] = gate(z[0]);
    saved[1] = gate(z[1]);
    saved[2] = Math<V>::tanh(z[3] + saved[0] * z[2]);
    saved[3] = z[2];
    return saved[2] + saved[1] * (h - saved[2]);
  }
  template <class V>
  PYNEURAL_INLINE static void gradients(const V* saved, const At<V>& at, V& dh, V&, V* grad) {
    const V r = saved[0], z = saved[1], n = saved[2];
    const V one(1);
    grad[3] = dh * (one - z) * (one - n * n);
    grad[2] = grad[3] * r;
    grad[1] = dh * (at.h_before - n) * z * (one - z);
    grad[0] = grad[3] * saved[3] * r * (one - r);
    dh = dh * z;
  }
};

// The order of the steps, and which rows take part in each.
struct Steps {
  int64_t count = 0;
  bool reverse = false;
  const int64_t* lengths = nullptr;  // [N]; null: all are `count`

  PYNEURAL_INLINE int64_t time(int64_t s) const { return reverse ? count - 1 - s : s; }
  PYNEURAL_INLINE int64_t before(int64_t t) const { return reverse ? t + 1 : t - 1; }
  PYNEURAL_INLINE bool active(int64_t t, int64_t n) const { return !lengths || t < lengths[n]; }
  PYNEURAL_INLINE bool first(int64_t t, int64_t n) const {
    return reverse ? t == (lengths ? lengths[n] : count) - 1 : t == 0;
  }
};

// Calls visit(Cell{}).
template <class Visit>
void visit_cell(CellKind kind, const Visit& visit) {
  switch (kind) {
    case CellKind::tanh:
      return visit(Simple<Tanh>{});
    case CellKind::relu:
      return visit(Simple<Relu>{});
    case CellKind::lstm:
      return visit(Lstm{});
    case CellKind::gru:
      return visit(Gru{});
  }
}

}  // namespace pyneural::rnn
