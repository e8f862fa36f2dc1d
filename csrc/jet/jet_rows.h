// The activation of a whole row on the host: one unit's jet at a tile's P points, [C, P], by
// vectors.
#pragma once

#include "../common/matmul.h"
#include "../common/vector_math.h"
#include "jet_activation.h"

namespace pyneural::jet {

template <class T>
struct ActivationRows {
  void (*forward)(const Plan& plan, int64_t points, T bias, T* z, T* a) = nullptr;
  void (*backward)(const Plan& plan, int64_t points, const T* z, T* grad, T* a) = nullptr;
};

template <class Activation, int order, class T>
void activate_row(const Plan& plan, int64_t points, T bias, T* z, T* a) {
  for (int64_t p = 0; p < points; p += lanes<T>())
    activate<Activation, order, Vec<T>>(plan, points, bias, z + p, a + p);
}

template <class Activation, int order, class T>
void activate_row_backward(const Plan& plan, int64_t points, const T* z, T* grad, T* a) {
  for (int64_t p = 0; p < points; p += lanes<T>())
    activate_backward<Activation, order, Vec<T>>(plan, points, z + p, grad + p, a + p);
}

// The two functions for an activation and the derivatives that the plan needs of it.
template <class T>
ActivationRows<T> activation_rows(ActivationKind kind, int order) {
  ActivationRows<T> rows;
  visit_activation(kind, [&](auto activation) {
    using Activation = decltype(activation);
    const auto choose = [&]<int n>(std::integral_constant<int, n>) {
      if (order == n)
        rows = {activate_row<Activation, n, T>, activate_row_backward<Activation, n, T>};
    };
    choose(std::integral_constant<int, 0>{});
    choose(std::integral_constant<int, 1>{});
    if constexpr (Activation::kSmooth) {
      choose(std::integral_constant<int, 2>{});
      choose(std::integral_constant<int, 3>{});
      choose(std::integral_constant<int, 4>{});
    }
  });
  return rows;
}

}  // namespace pyneural::jet
