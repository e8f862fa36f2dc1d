// An activation applied to one row of a jet, forward and backward, on the host.
//
// A row holds one unit's C channels of a tile of P points, channel after channel: row[c * P + p].
// Forward and backward are Faà di Bruno's formula of plan.h and its transpose; the plan is read at
// run time, the highest derivative of the activation and each term's order are template arguments.
#pragma once

#include "../common/matmul.h"
#include "../common/vector_math.h"
#include "plan.h"

namespace pyneural::jet {

namespace detail {

// coefficient f^(k) prod_j z_{factor[j]}
template <int k, class T>
inline Vec<T> term_value(const Term& term, const Vec<T>* f, int64_t points, const T* z) {
  Vec<T> product = Vec<T>(T(term.coefficient)) * f[k];
#pragma GCC unroll 4
  for (int j = 0; j < k; ++j) product = product * Vec<T>::loadu(z + term.factor[j] * points);
  return product;
}

// The transpose: adds to the factors' grads, returns what the term adds to the grad of z_0.
template <int k, class T>
inline Vec<T> term_backward(const Term& term, const Vec<T>* f, int64_t points, const T* z,
                            Vec<T> grad_a, T* grad) {
  Vec<T> factor[k], before[k];  // before[j]: product of the factors up to the j-th, without it
#pragma GCC unroll 4
  for (int j = 0; j < k; ++j) factor[j] = Vec<T>::loadu(z + term.factor[j] * points);
  before[0] = Vec<T>(T(term.coefficient)) * grad_a;
#pragma GCC unroll 4
  for (int j = 1; j < k; ++j) before[j] = before[j - 1] * factor[j - 1];
  Vec<T> after = f[k];
#pragma GCC unroll 4
  for (int j = k - 1; j >= 0; --j) {
    T* const target = grad + term.factor[j] * points;
    at::vec::fmadd(after, before[j], Vec<T>::loadu(target)).store(target);
    after = after * factor[j];
  }
  return f[k + 1] * before[k - 1] * factor[k - 1];
}

}  // namespace detail

// z [C, P] in: pre-activation without its bias; out: what activate_backward needs, which is z with
// in channel 0 the activation's value where its derivatives follow from that, else z_0 with bias.
// a [C, P] out: the activation's jet.
template <class Activation, int order, class T>
void activate(const Plan& plan, int64_t points, T bias, T* z, T* a) {
  for (int64_t p = 0; p < points; p += lanes<T>(), z += lanes<T>(), a += lanes<T>()) {
    Vec<T> f[order + 1];
    const Vec<T> z0 = Vec<T>::loadu(z) + Vec<T>(bias);
    Activation::template evaluate<order>(z0, f);
    (Activation::kFromValue ? f[0] : z0).store(z);
    f[0].store(a);
    if constexpr (order >= 1) {
      const Term* term = plan.term;
      const Term* const end = plan.term + plan.terms;
      for (int c = 1; c < plan.channels; ++c) {
        Vec<T> sum = f[1] * Vec<T>::loadu(z + c * points);
        for (; term != end && term->channel == c; ++term) {
          if constexpr (order >= 2)
            if (term->order == 2) sum = sum + detail::term_value<2>(*term, f, points, z);
          if constexpr (order >= 3)
            if (term->order == 3) sum = sum + detail::term_value<3>(*term, f, points, z);
          if constexpr (order >= 4)
            if (term->order == 4) sum = sum + detail::term_value<4>(*term, f, points, z);
        }
        sum.store(a + c * points);
      }
    }
  }
}

// z [C, P]: as activate left it; grad [C, P] in: d/d a, out: d/d z; a [C, P] out: as from activate.
template <class Activation, int order, class T>
void activate_backward(const Plan& plan, int64_t points, const T* z, T* grad, T* a) {
  for (int64_t p = 0; p < points;
       p += lanes<T>(), z += lanes<T>(), grad += lanes<T>(), a += lanes<T>()) {
    Vec<T> f[order + 2];
    f[0] = Vec<T>::loadu(z);
    if constexpr (Activation::kFromValue)
      Activation::template derivatives<order + 1>(f[0], f[0], f);
    else
      Activation::template evaluate<order + 1>(Vec<T>(f[0]), f);
    f[0].store(a);
    Vec<T> grad_z0 = f[1] * Vec<T>::loadu(grad);
    if constexpr (order >= 1) {
      const Term* term = plan.term;
      const Term* const end = plan.term + plan.terms;
      // A channel's terms have lower channels as factors. Going upwards, the grad of a that a
      // channel's terms read is still in place, and those that they add to are grads of z already.
      for (int c = 1; c < plan.channels; ++c) {
        const Vec<T> grad_a = Vec<T>::loadu(grad + c * points), zc = Vec<T>::loadu(z + c * points);
        grad_z0 = at::vec::fmadd(f[2] * grad_a, zc, grad_z0);
        (f[1] * grad_a).store(grad + c * points);
        Vec<T> sum = f[1] * zc;
        const auto add = [&]<int k>(std::integral_constant<int, k>) {
          if (term->order != k) return;
          sum = sum + detail::term_value<k>(*term, f, points, z);
          grad_z0 = grad_z0 + detail::term_backward<k>(*term, f, points, z, grad_a, grad);
        };
        for (; term != end && term->channel == c; ++term) {
          if constexpr (order >= 2) add(std::integral_constant<int, 2>{});
          if constexpr (order >= 3) add(std::integral_constant<int, 3>{});
          if constexpr (order >= 4) add(std::integral_constant<int, 4>{});
        }
        sum.store(a + c * points);
      }
    }
    grad_z0.store(grad);
  }
}

template <class T>
struct ActivationRows {
  void (*forward)(const Plan& plan, int64_t points, T bias, T* z, T* a) = nullptr;
  void (*backward)(const Plan& plan, int64_t points, const T* z, T* grad, T* a) = nullptr;
};

// The two functions for an activation by name and the derivatives that the plan needs of it.
template <class T>
ActivationRows<T> activation_rows(std::string_view name, int order) {
  ActivationRows<T> rows;
  visit_activation(name, [&](auto activation) {
    using Activation = decltype(activation);
    const auto choose = [&]<int n>(std::integral_constant<int, n>) {
      if (order == n) rows = {activate<Activation, n, T>, activate_backward<Activation, n, T>};
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
