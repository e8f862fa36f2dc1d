// The activation of a unit's jet along a path of parameters: the jet's channels are Taylor series.
//
// In two steps, so that not every activation is compiled together with the chain rules: the
// activation's derivatives at tau = 0, and from these their series in tau and the jet.
#pragma once

#include "jet_check.h"
#include "jet_rows.h"
#include "series.h"

namespace pyneural::jet {

// f [n + 1][points], an activation and its first n derivatives at z_0 + bias, for a row of points.
template <class Activation, int n, class T>
void evaluate_row(int64_t points, T bias, const T* z0, T* f) {
  for (int64_t p = 0; p < points; p += lanes<T>()) {
    Vec<T> derivative[n + 1];
    Activation::template evaluate<n>(Vec<T>::loadu(z0 + p) + Vec<T>(bias), derivative);
    PYNEURAL_UNROLL
    for (int k = 0; k <= n; ++k) derivative[k].store(f + k * points + p);
  }
}

template <class T>
struct PathRows {
  int derivatives;  // of the activation, the highest that is evaluated
  // f [1 + derivatives][P] from the first coefficients of z_0 and of its bias, for P points.
  void (*evaluate)(int64_t points, T bias, const T* z0, T* f);
  // The activation's jet [C, P] from f, z [C, P] and the coefficients of the bias.
  void (*jet)(const Plan& plan, int64_t points, const T* f, Coefficients<const T> bias,
              Coefficients<const T> z, Coefficients<T> a);
  // The value [P] of a function of a residual, by its opcode, from its operands.
  void (*function)(int64_t opcode, int64_t points, Coefficients<const T> a, Coefficients<const T> b,
                   Coefficients<T> to);
};

// f [1 + n + K][P]. The series g_i of f^(i)(z_0) begin with f[i], and g_i' = g_(i + 1) z_0'.
template <int n, int K, class T>
void path_jet(const Plan& plan, int64_t points, const T* f, Coefficients<const T> bias,
              Coefficients<const T> z, Coefficients<T> a) {
  using S = Series<Vec<T>, K>;
  constexpr int kHighest = n + K;
  for (int64_t p = 0; p < points; p += lanes<T>()) {
    S z0 = Math<S>::load(z + p), g[kHighest + 1];
    PYNEURAL_UNROLL
    for (int k = 1; k <= K; ++k) z0.c[k] = z0.c[k] + Vec<T>(bias.first[k * bias.distance]);
    g[kHighest] = S(Vec<T>::loadu(f + kHighest * points + p));
    PYNEURAL_UNROLL
    for (int i = kHighest - 1; i >= 0; --i) {
      g[i] = S(Vec<T>::loadu(f + i * points + p));
      PYNEURAL_UNROLL
      for (int k = 1; k <= K; ++k)
        if (i + k <= kHighest) {
          g[i].c[k] = integral(z0, g[i + 1], k);
          g[i].degree = k;
        }
    }
    store_jet<n>(plan, points, g, z + p, a + p);
  }
}

template <int K, class T>
void path_function(int64_t opcode, int64_t points, Coefficients<const T> a, Coefficients<const T> b,
                   Coefficients<T> to) {
  using S = Series<Vec<T>, K>;
  visit_residual_function(opcode, [&](const auto& function) {
    for (int64_t p = 0; p < points; p += lanes<T>()) {
      if constexpr (std::decay_t<decltype(function)>::kOperands == 2)
        Math<S>::store(function.value(Math<S>::load(a + p), Math<S>::load(b + p)), to + p);
      else
        Math<S>::store(function.value(Math<S>::load(a + p)), to + p);
    }
  });
}

// Not every order of derivatives is compiled: more than the plan needs may be computed.
template <class T>
PathRows<T> path_rows(ActivationKind kind, const Plan& plan, int64_t path_order) {
  PathRows<T> rows{};
  const auto use_order = [&]<int K>() {
    if (path_order != K) return;
    rows.function = path_function<K, T>;
    const auto use = [&]<int n>() { rows.derivatives = n + K, rows.jet = path_jet<n, K, T>; };
    plan.order <= 1   ? use.template operator()<1>()
    : plan.order == 2 ? use.template operator()<2>()
                      : use.template operator()<kMaxOrder>();
  };
  static_assert(kMaxPathOrder == 4 && kMaxOrder + kMaxPathOrder <= kMaxDerivative);
  use_order.template operator()<1>();
  use_order.template operator()<2>();
  use_order.template operator()<3>();
  use_order.template operator()<4>();
  visit_activation(kind, [&](auto activation) {
    constexpr int kHighest = decltype(activation)::kSmooth ? kMaxDerivative : 1 + kMaxPathOrder;
    [&]<int... n>(std::integer_sequence<int, n...>) {
      ((rows.derivatives == n + 2
            ? void(rows.evaluate = evaluate_row<decltype(activation), n + 2, T>)
            : void()),
       ...);
    }(std::make_integer_sequence<int, kHighest - 1>{});
  });
  return rows;
}

}  // namespace pyneural::jet
