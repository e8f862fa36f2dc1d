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

template <class T>
struct ActivationRows {
  void (*forward)(const Plan& plan, const Rows& rows, const T* bias, T* z, T* a) = nullptr;
  void (*backward)(const Plan& plan, const Rows& rows, const T* z, T* grad) = nullptr;
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
ActivationRows<T> activation_rows(ActivationKind kind, const Plan& plan) {
  ActivationRows<T> rows;
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    const auto use = [&]<int n, class P>() {
      rows = {activate_rows<Activation, n, P, T>, activate_rows_backward<Activation, n, P, T>};
    };
    const auto use_order = [&]<int n>() {
      if (plan.order == n) use.template operator()<n, const Plan&>();
    };
    const auto use_fixed = [&]<class Terms>() {
      if (FixedPlan<Terms>::matches(plan)) use.template operator()<2, FixedPlan<Terms>>();
    };
    use_order.template operator()<0>();
    use_order.template operator()<1>();
    if constexpr (Activation::kSmooth) {
      use_order.template operator()<2>();
      use_order.template operator()<3>();
      use_order.template operator()<4>();
      use_fixed.template operator()<LineTerms>();
      use_fixed.template operator()<PlaneTerms>();
      use_fixed.template operator()<EvolutionTerms>();
    }
  });
  return rows;
}

}  // namespace pyneural::jet
