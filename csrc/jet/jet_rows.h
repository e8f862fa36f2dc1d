// The activation of a whole row on the host: one unit's jet at a tile's P points, [C, P], by
// vectors.
#pragma once

#include "../common/matmul.h"
#include "../common/vector_math.h"
#include "jet_activation.h"

namespace pyneural::jet {

// The plan of u_t, u_x, u_xx, by far the most frequent one, as constants that the compiler unrolls:
// 5 % of a whole training step at width 20.
struct EvolutionPlan {
  static constexpr int channels = 4, terms = 1;
  static constexpr Term term[terms] = {{3, 2, 1, {2, 2}}};

  static bool matches(const Plan& plan) {
    const Term &ours = term[0], &theirs = plan.term[0];
    return plan.channels == channels && plan.terms == terms && theirs.channel == ours.channel &&
           theirs.order == ours.order && theirs.coefficient == ours.coefficient &&
           theirs.factor[0] == ours.factor[0] && theirs.factor[1] == ours.factor[1];
  }
};

template <class T>
struct ActivationRows {
  void (*forward)(const Plan& plan, int64_t points, T bias, T* z, T* a) = nullptr;
  void (*backward)(const Plan& plan, int64_t points, const T* z, T* grad, T* a) = nullptr;
};

// With P = Plan the plan is read at run time; otherwise P is it.
template <class P>
const P& choose_plan(const Plan& plan) {
  if constexpr (std::is_same_v<P, Plan>) {
    return plan;
  } else {
    static constexpr P kPlan{};
    return kPlan;
  }
}

template <class Activation, int order, class P, class T>
void activate_row(const Plan& plan, int64_t points, T bias, T* z, T* a) {
  for (int64_t p = 0; p < points; p += lanes<T>())
    activate<Activation, order, Vec<T>>(choose_plan<P>(plan), points, bias, z + p, a + p);
}

template <class Activation, int order, class P, class T>
void activate_row_backward(const Plan& plan, int64_t points, const T* z, T* grad, T* a) {
  for (int64_t p = 0; p < points; p += lanes<T>())
    activate_backward<Activation, order, Vec<T>>(choose_plan<P>(plan), points, z + p, grad + p,
                                                 a + p);
}

// The two functions for an activation and a plan.
template <class T>
ActivationRows<T> activation_rows(ActivationKind kind, const Plan& plan) {
  ActivationRows<T> rows;
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    const auto use = [&]<int n, class P>(std::integral_constant<int, n>, const P&) {
      rows = {activate_row<Activation, n, P, T>, activate_row_backward<Activation, n, P, T>};
    };
    const auto use_order = [&]<int n>(std::integral_constant<int, n> order) {
      if (plan.order == n) use(order, plan);
    };
    use_order(std::integral_constant<int, 0>{});
    use_order(std::integral_constant<int, 1>{});
    if constexpr (Activation::kSmooth) {
      use_order(std::integral_constant<int, 2>{});
      use_order(std::integral_constant<int, 3>{});
      use_order(std::integral_constant<int, 4>{});
      if (EvolutionPlan::matches(plan)) use(std::integral_constant<int, 2>{}, EvolutionPlan{});
    }
  });
  return rows;
}

}  // namespace pyneural::jet
