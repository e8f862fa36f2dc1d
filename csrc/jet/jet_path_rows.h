// The activation of a unit's jet along a path of parameters: the jet's channels are Taylor series.
//
// In two steps, so that not every activation is compiled together with the chain rule of jets: the
// activation's derivatives as series, and the jet from these.
#pragma once

#include "../common/vectors.h"
#include "jet_activation.h"
#include "series.h"

namespace pyneural::jet {

template <class T>
struct PathRows {
  // Derivatives 0 .. n of the activation at z_0 + bias, for P points: f [n + 1][K + 1][P] from the
  // series z_0 and the coefficients of the bias, `bias_stride` apart.
  void (*derivatives)(int64_t points, Coefficients<const T> z, Coefficients<const T> bias, T* f);
  // The activation's jet [C, P] from f and z [C, P].
  void (*jet)(const Plan& plan, int64_t points, const T* f, Coefficients<const T> z,
              Coefficients<T> a);
};

template <class Activation, int n, int K, class T>
void path_derivatives(int64_t points, Coefficients<const T> z, Coefficients<const T> bias, T* f) {
  using S = Series<Vec<T>, K>;
  S shift;
  shift.degree = K;
  PYNEURAL_UNROLL
  for (int k = 0; k <= K; ++k) shift.c[k] = Vec<T>(bias.first[k * bias.distance]);
  for (int64_t p = 0; p < points; p += lanes<T>()) {
    S derivative[n + 1];
    Activation::template evaluate<n>(Math<S>::load(z + p) + shift, derivative);
    PYNEURAL_UNROLL
    for (int i = 0; i <= n; ++i)
      Math<S>::store(derivative[i], {f + i * (K + 1) * points + p, points});
  }
}

template <int n, int K, class T>
void path_jet(const Plan& plan, int64_t points, const T* f, Coefficients<const T> z,
              Coefficients<T> a) {
  using S = Series<Vec<T>, K>;
  for (int64_t p = 0; p < points; p += lanes<T>()) {
    S derivative[n + 1];
    PYNEURAL_UNROLL
    for (int i = 0; i <= n; ++i)
      derivative[i] = Math<S>::load(Coefficients<const T>{f + i * (K + 1) * points + p, points});
    detail::store_jet<n>(plan, points, derivative, z + p, a + p);
  }
}

// Not every order of derivatives is compiled: more than the plan needs may be computed.
template <class T, int K>
PathRows<T> path_rows(ActivationKind kind, const Plan& plan) {
  PathRows<T> rows{};
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    const auto use = [&]<int n>() {
      if (plan.order <= n) rows = {path_derivatives<Activation, n, K, T>, path_jet<n, K, T>};
    };
    if constexpr (Activation::kSmooth) {
      use.template operator()<kMaxOrder>();
      use.template operator()<2>();
    } else {
      use.template operator()<1>();
    }
  });
  return rows;
}

}  // namespace pyneural::jet
