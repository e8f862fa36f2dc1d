// The activation of a whole row on the host: one unit's jet at a tile's P points, [C, P], by
// vectors.
#pragma once

#include "../common/vector_math.h"
#include "../common/vectors.h"
#include "jet_activation.h"

namespace pyneural::jet {

// Plans so frequent that the compiler unrolls them: the terms as constants, their coefficients read
// at run time. 5 % of a whole training step at width 20.
template <class Terms>
struct FixedPlan : Terms {
  static constexpr int terms = std::size(Terms::term);
  double coefficient[terms];

  explicit FixedPlan(const Plan& plan) { std::copy_n(plan.coefficient, terms, coefficient); }

  static bool matches(const Plan& plan) {
    return plan.channels == Terms::channels && plan.terms == terms &&
           std::equal(Terms::term, Terms::term + terms, plan.term);
  }
};

// u_x and an operator of second order in x: convection and diffusion, collapsed.
struct LineTerms {
  static constexpr int channels = 3;
  static constexpr Term term[] = {{2, 2, {1, 1}}};
};
// Two first derivatives and an operator of second order in both: heat or Poisson in the plane,
// waves on a line.
struct PlaneTerms {
  static constexpr int channels = 4;
  static constexpr Term term[] = {{3, 2, {1, 1}}, {3, 2, {2, 2}}};
};
// u_t, u_x, u_xx
struct EvolutionTerms {
  static constexpr int channels = 4;
  static constexpr Term term[] = {{3, 2, {2, 2}}};
};

// A layer's rows: `units` of them, `stride` elements apart, each [C, points].
struct Rows {
  int64_t units, stride, points;
};

// f [n + 1][points], an activation and its first n derivatives at z_0 + bias, for a row of points.
template <class T>
using EvaluateRow = void (*)(int64_t points, T bias, const T* z0, T* f);
template <class Activation, int n, class T>
void evaluate_row(int64_t points, T bias, const T* z0, T* f) {
  for (int64_t p = 0; p < points; p += lanes<T>()) {
    Vec<T> derivative[n + 1];
    Activation::template evaluate<n>(Vec<T>::loadu(z0 + p) + Vec<T>(bias), derivative);
    PYNEURAL_UNROLL
    for (int k = 0; k <= n; ++k) derivative[k].store(f + k * points + p);
  }
}
// The same from the value in the place of z_0.
template <class Activation, int n, class T>
void evaluate_row_from_value(int64_t points, T, const T* saved, T* f) {
  for (int64_t p = 0; p < points; p += lanes<T>()) {
    Vec<T> derivative[n + 1];
    detail::saved_derivatives<Activation, n>(saved + p, derivative);
    PYNEURAL_UNROLL
    for (int k = 0; k <= n; ++k) derivative[k].store(f + k * points + p);
  }
}

// What is done between the products, for a layer's rows at a time. Of frequent plans, and of those
// without terms, all in one function. Of the others in two steps, so that not every activation is
// compiled together with their chain rule.
template <class T>
class ActivationRows {
 public:
  ActivationRows(ActivationKind kind, const Plan& plan);

  void forward(const Plan& plan, const Rows& rows, const T* bias, T* z, T* a) const {
    if (forward_) return forward_(plan, rows, bias, z, a);
    for (int64_t i = 0; i < rows.units; ++i, z += rows.stride, a += rows.stride)
      for_blocks(rows.points, [&](int64_t first, int64_t points, T* f) {
        evaluate_(points, bias[i], z + first, f);
        for (int64_t p = 0; p < points; p += lanes<T>()) {
          T* const at = z + first + p;
          Vec<T> derivative[kMaxOrder + 1];
          load(f + p, points, plan.order, derivative);
          (saves_value_ ? derivative[0] : Vec<T>::loadu(at) + Vec<T>(bias[i])).store(at);
          detail::store_jet<kMaxOrder>(plan, rows.points, derivative, at, a + first + p);
        }
      });
  }

  void backward(const Plan& plan, const Rows& rows, const T* z, T* grad) const {
    if (backward_) return backward_(plan, rows, z, grad);
    for (int64_t i = 0; i < rows.units; ++i, z += rows.stride, grad += rows.stride)
      for_blocks(rows.points, [&](int64_t first, int64_t points, T* f) {
        evaluate_saved_(points, T(0), z + first, f);
        for (int64_t p = 0; p < points; p += lanes<T>()) {
          Vec<T> derivative[kMaxOrder + 2];
          load(f + p, points, plan.order + 1, derivative);
          detail::store_jet_backward<kMaxOrder>(plan, rows.points, derivative, z + first + p,
                                                grad + first + p);
        }
      });
  }

 private:
  // body(first, points, f) with memory for the derivatives at so many points of a row.
  template <class Body>
  static void for_blocks(int64_t points, const Body& body) {
    constexpr int64_t kPoints = 16 * lanes<T>();
    alignas(64) T f[(kMaxOrder + 2) * kPoints];
    for (int64_t first = 0; first < points; first += kPoints)
      body(first, std::min(kPoints, points - first), f);
  }
  template <int size>
  PYNEURAL_INLINE static void load(const T* f, int64_t points, int order,
                                   Vec<T> (&derivative)[size]) {
    PYNEURAL_UNROLL
    for (int k = 0; k < size; ++k)
      derivative[k] = k <= order ? Vec<T>::loadu(f + k * points) : Vec<T>(T(0));
  }

  void (*forward_)(const Plan& plan, const Rows& rows, const T* bias, T* z, T* a) = nullptr;
  void (*backward_)(const Plan& plan, const Rows& rows, const T* z, T* grad) = nullptr;
  EvaluateRow<T> evaluate_ = nullptr, evaluate_saved_ = nullptr;
  bool saves_value_ = false;
};

template <class Activation, int order, class P, class T>
void activate_rows(const Plan& any_plan, const Rows& rows, const T* bias, T* z, T* a) {
  const P& plan = P(any_plan);
  for (int64_t i = 0; i < rows.units; ++i, z += rows.stride, a += rows.stride)
    for (int64_t p = 0; p < rows.points; p += lanes<T>())
      activate<Activation, order, Vec<T>>(plan, rows.points, bias[i], z + p, a + p);
}

template <class Activation, int order, class P, class T>
void activate_rows_backward(const Plan& any_plan, const Rows& rows, const T* z, T* grad) {
  const P& plan = P(any_plan);
  for (int64_t i = 0; i < rows.units; ++i, z += rows.stride, grad += rows.stride)
    for (int64_t p = 0; p < rows.points; p += lanes<T>())
      activate_backward<Activation, order, Vec<T>>(plan, rows.points, z + p, grad + p);
}

template <class T>
ActivationRows<T>::ActivationRows(ActivationKind kind, const Plan& plan) {
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    saves_value_ = Activation::kFromValue;
    const auto use = [&]<int n, class P>() {
      forward_ = activate_rows<Activation, n, P, T>;
      backward_ = activate_rows_backward<Activation, n, P, T>;
    };
    if (plan.order == 0) use.template operator()<0, const Plan&>();
    if (plan.order == 1) use.template operator()<1, const Plan&>();
    if constexpr (Activation::kSmooth) {
      const auto use_order = [&]<int n>() {
        if (plan.order != n) return;
        evaluate_ = evaluate_row<Activation, n, T>;
        if constexpr (Activation::kFromValue)
          evaluate_saved_ = evaluate_row_from_value<Activation, n + 1, T>;
        else
          evaluate_saved_ = evaluate_row<Activation, n + 1, T>;
      };
      use_order.template operator()<2>();
      use_order.template operator()<3>();
      use_order.template operator()<4>();
      const auto use_fixed = [&]<class Terms>() {
        if (FixedPlan<Terms>::matches(plan)) use.template operator()<2, FixedPlan<Terms>>();
      };
      use_fixed.template operator()<LineTerms>();
      use_fixed.template operator()<PlaneTerms>();
      use_fixed.template operator()<EvolutionTerms>();
    }
  });
}

}  // namespace pyneural::jet
