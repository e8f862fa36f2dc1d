// Every activation once, for host and device: the value and its derivatives.
//
// An activation is a struct with
//   evaluate<n>(z, f)            f[0 .. n], the value and the first n derivatives at z
//   derivatives<n>(z, value, f)  f[1 .. n], where value = f(z) is known; f[0] is left alone
//   kSmooth                      whether second and higher derivatives are of any use
//   kFromValue                   whether derivatives needs the value only: then z may be the value
// for V any value type: float and double on the device, a vector of them on the host. Elementary
// functions come from Math<V>, which the host and the device each define.
//
// Eight derivatives: the backward of a fourth-order jet needs the fifth, its fourth derivative
// along a path of parameters the eighth.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "inline.h"

namespace pyneural {

constexpr int kMaxDerivative = 8;

// Elementary functions of V, by common/vector_math.h for vectors and common/scalar_math.h for
// scalars: exp, expm1 (of z <= 0), tanh, sigmoid, sin, cos, normal, softplus; where_positive(z, a,
// b), a where z > 0, else b, and where_at_most_0(z, a, b); load(from) and store(value, to).
template <class V>
struct Math;

// The standard normal distribution: Phi(z), and phi(z) = Phi'(z).
template <class V>
struct Normal {
  V distribution, density;
};

// Adds evaluate to an activation that has value(z) and derivatives.
template <class Self, bool is_smooth, bool from_value>
struct ByValue {
  static constexpr bool kSmooth = is_smooth, kFromValue = from_value;
  template <int n, class V>
  PYNEURAL_INLINE static void evaluate(V z, V* f) {
    f[0] = Self::value(z);
    Self::template derivatives<n>(z, f[0], f);
  }
};

// Adds derivatives to an activation that has evaluate.
template <class Self>
struct ByOrder {
  static constexpr bool kSmooth = true, kFromValue = false;
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V z, V value, V* f) {
    Self::template evaluate<n>(z, f);
    f[0] = value;
  }
};

struct Linear : ByValue<Linear, false, true> {
  PYNEURAL_INLINE static auto value(auto z) { return z; }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V, V, V* f) {
    if constexpr (n >= 1) f[1] = V(1);
    PYNEURAL_UNROLL
    for (int k = 2; k <= n; ++k) f[k] = V(0);
  }
};

// slope * z below zero: relu and leaky_relu. At 0 the derivative is the left one, as in torch.
template <int kSlopePercent>
struct LeakyRelu : ByValue<LeakyRelu<kSlopePercent>, false, true> {
  PYNEURAL_INLINE static auto value(auto z) {
    using V = decltype(z);
    if constexpr (kSlopePercent == 0)  // also of -inf; NaN stays NaN
      return Math<V>::where_at_most_0(z, V(0), z);
    else
      return Math<V>::where_positive(z, z, z * V(kSlopePercent * 0.01));
  }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V z, V, V* f) {
    if constexpr (n >= 1) f[1] = Math<V>::where_positive(z, V(1), V(kSlopePercent * 0.01));
    PYNEURAL_UNROLL
    for (int k = 2; k <= n; ++k) f[k] = V(0);
  }
};

// exp(z) - 1 below zero.
struct Elu : ByValue<Elu, false, true> {
  PYNEURAL_INLINE static auto value(auto z) {
    return Math<decltype(z)>::where_positive(z, z, Math<decltype(z)>::expm1(z));
  }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V z, V value, V* f) {
    PYNEURAL_UNROLL
    for (int k = 1; k <= n; ++k)
      f[k] = Math<V>::where_at_most_0(z, value + V(1), V(k == 1 ? 1 : 0));
  }
};

// With s = 1 - a^2: each derivative is a polynomial in a times s.
struct Tanh : ByValue<Tanh, true, true> {
  PYNEURAL_INLINE static auto value(auto z) { return Math<decltype(z)>::tanh(z); }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V, V a, V* f) {
    const V a2 = a * a;
    const V s = V(1) - a2;
    if constexpr (n >= 1) f[1] = s;
    if constexpr (n >= 2) f[2] = V(-2) * a * s;
    if constexpr (n >= 3) f[3] = (V(6) * a2 - V(2)) * s;
    if constexpr (n >= 4) f[4] = (V(16) - V(24) * a2) * a * s;
    if constexpr (n >= 5) f[5] = ((V(120) * a2 - V(120)) * a2 + V(16)) * s;
    if constexpr (n >= 6) f[6] = ((V(960) - V(720) * a2) * a2 - V(272)) * a * s;
    if constexpr (n >= 7) f[7] = (((V(5040) * a2 - V(8400)) * a2 + V(3696)) * a2 - V(272)) * s;
    if constexpr (n >= 8)
      f[8] = (((V(80640) - V(40320) * a2) * a2 - V(48384)) * a2 + V(7936)) * a * s;
  }
};

struct Sin : ByValue<Sin, true, false> {
  PYNEURAL_INLINE static auto value(auto z) { return Math<decltype(z)>::sin(z); }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V z, V a, V* f) {
    if constexpr (n >= 1) f[1] = Math<V>::cos(z);
    if constexpr (n >= 2) f[2] = V(0) - a;
    if constexpr (n >= 3) f[3] = V(0) - f[1];
    if constexpr (n >= 4) f[4] = a;
    PYNEURAL_UNROLL
    for (int k = 5; k <= n; ++k) f[k] = f[k - 4];
  }
};

// With s = a (1 - a): each derivative is a polynomial in a times s.
struct Sigmoid : ByValue<Sigmoid, true, true> {
  PYNEURAL_INLINE static auto value(auto z) { return Math<decltype(z)>::sigmoid(z); }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V, V a, V* f) {
    const V s = a * (V(1) - a);
    const V odd = V(1) - V(2) * a;
    if constexpr (n >= 1) f[1] = s;
    if constexpr (n >= 2) f[2] = s * odd;
    if constexpr (n >= 3) f[3] = s * (V(1) - V(6) * s);
    if constexpr (n >= 4) f[4] = s * odd * (V(1) - V(12) * s);
    if constexpr (n >= 5) f[5] = s * ((V(120) * s - V(30)) * s + V(1));
    if constexpr (n >= 6) f[6] = s * odd * ((V(360) * s - V(60)) * s + V(1));
    if constexpr (n >= 7) f[7] = s * (((V(1680) - V(5040) * s) * s - V(126)) * s + V(1));
    if constexpr (n >= 8) f[8] = s * odd * (((V(5040) - V(20160) * s) * s - V(252)) * s + V(1));
  }
};

// z sigmoid(z); its k-th derivative is k sigmoid^(k-1) + z sigmoid^(k).
struct Silu : ByOrder<Silu> {
  template <int n, class V>
  PYNEURAL_INLINE static void evaluate(V z, V* f) {
    V s[n + 1];
    Sigmoid::evaluate<n>(z, s);
    f[0] = z * s[0];
    PYNEURAL_UNROLL
    for (int k = 1; k <= n; ++k) f[k] = V(k) * s[k - 1] + z * s[k];
  }
};

// z Phi(z), Phi the distribution function of the standard normal distribution and phi its density.
struct Gelu : ByOrder<Gelu> {
  template <int n, class V>
  PYNEURAL_INLINE static void evaluate(V z, V* f) {
    const V z2 = z * z;
    const auto [distribution, density] = Math<V>::normal(z);
    f[0] = z * distribution;
    if constexpr (n >= 1) f[1] = distribution + z * density;
    if constexpr (n >= 2) f[2] = (V(2) - z2) * density;
    if constexpr (n >= 3) f[3] = (z2 - V(4)) * z * density;
    if constexpr (n >= 4) f[4] = ((V(7) - z2) * z2 - V(4)) * density;
    if constexpr (n >= 5) f[5] = ((z2 - V(11)) * z2 + V(18)) * z * density;
    if constexpr (n >= 6) f[6] = (((V(16) - z2) * z2 - V(51)) * z2 + V(18)) * density;
    if constexpr (n >= 7) f[7] = (((z2 - V(22)) * z2 + V(115)) * z2 - V(120)) * z * density;
    if constexpr (n >= 8)
      f[8] = ((((V(29) - z2) * z2 - V(225)) * z2 + V(465)) * z2 - V(120)) * density;
  }
};

// z sigmoid(w) with w = c (z + d z^3), which is torch's z (1 + tanh(w / 2)) / 2. The derivatives of
// sigmoid(w(z)) are by Faa di Bruno's formula, those of the product as for silu.
struct GeluTanh : ByOrder<GeluTanh> {
  template <int n, class V>
  PYNEURAL_INLINE static void evaluate(V z, V* f) {
    const V c(1.59576912160573071176), d(0.044715), z2 = z * z;
    V t[n + 1], s[n + 1];
    Sigmoid::evaluate<n>(c * z * (V(1) + d * z2), t);
    const V w1 = c * (V(1) + V(3) * d * z2), w2 = V(6) * c * d * z, w3 = V(6) * c * d;
    s[0] = t[0];
    if constexpr (n >= 1) s[1] = t[1] * w1;
    if constexpr (n >= 2) s[2] = t[2] * w1 * w1 + t[1] * w2;
    if constexpr (n >= 3) s[3] = (t[3] * w1 * w1 + V(3) * t[2] * w2) * w1 + t[1] * w3;
    if constexpr (n >= 4)
      s[4] = ((t[4] * w1 * w1 + V(6) * t[3] * w2) * w1 + V(4) * t[2] * w3) * w1 +
             V(3) * t[2] * w2 * w2;
    if constexpr (n >= 5)
      s[5] = (((t[5] * w1 * w1 + V(10) * t[4] * w2) * w1 + V(10) * t[3] * w3) * w1 +
              V(15) * t[3] * w2 * w2) *
                 w1 +
             V(10) * t[2] * w2 * w3;
    if constexpr (n >= 6) {
      const V w11 = w1 * w1, w22 = w2 * w2, w33 = w3 * w3;
      s[6] = ((t[6] * w11 + V(15) * t[5] * w2) * w11 + V(45) * t[4] * w22) * w11 +
             V(20) * t[4] * w11 * w1 * w3 + V(15) * t[3] * w22 * w2 + V(60) * t[3] * w1 * w2 * w3 +
             V(10) * t[2] * w33;
      if constexpr (n >= 7)
        s[7] = (((t[7] * w11 + V(21) * t[6] * w2) * w11 + V(105) * t[5] * w22) * w11 +
                V(105) * t[4] * w22 * w2 + V(70) * t[3] * w33) *
                   w1 +
               ((V(35) * t[5] * w11 + V(210) * t[4] * w2) * w11 + V(105) * t[3] * w22) * w3;
      if constexpr (n >= 8)
        s[8] = (((t[8] * w11 + V(28) * t[7] * w2) * w11 + V(210) * t[6] * w22) * w11 +
                V(420) * t[5] * w22 * w2 + V(280) * t[4] * w33) *
                   w11 +
               ((V(56) * t[6] * w11 + V(560) * t[5] * w2) * w11 + V(840) * t[4] * w22) * w1 * w3 +
               V(105) * t[4] * w22 * w22 + V(280) * t[3] * w2 * w33;
    }
    f[0] = z * s[0];
    PYNEURAL_UNROLL
    for (int k = 1; k <= n; ++k) f[k] = V(k) * s[k - 1] + z * s[k];
  }
};

// log(1 + exp(z)), beyond 20 z, as in torch; its derivatives are the sigmoid and the sigmoid's.
struct Softplus : ByValue<Softplus, true, false> {
  PYNEURAL_INLINE static auto value(auto z) {
    using V = decltype(z);
    return Math<V>::where_positive(z - V(20), z, Math<V>::softplus(z));
  }
  template <int n, class V>
  PYNEURAL_INLINE static void derivatives(V z, V, V* f) {
    if constexpr (n >= 1) Sigmoid::evaluate<n - 1>(z, f + 1);
    PYNEURAL_UNROLL
    for (int k = 1; k <= n; ++k) f[k] = Math<V>::where_positive(z - V(20), V(k == 1 ? 1 : 0), f[k]);
  }
};

using Relu = LeakyRelu<0>;
using LeakyReluDefault = LeakyRelu<1>;  // slope 0.01, torch's default

// Every activation, ACTIVATION(name, struct). A new one is a struct above, a line here, and a line
// in pyneural/ops/activations.py.
#define PYNEURAL_ACTIVATIONS(ACTIVATION)   \
  ACTIVATION(tanh, Tanh)                   \
  ACTIVATION(sin, Sin)                     \
  ACTIVATION(sigmoid, Sigmoid)             \
  ACTIVATION(silu, Silu)                   \
  ACTIVATION(gelu, Gelu)                   \
  ACTIVATION(gelu_tanh, GeluTanh)          \
  ACTIVATION(softplus, Softplus)           \
  ACTIVATION(linear, Linear)               \
  ACTIVATION(relu, Relu)                   \
  ACTIVATION(leaky_relu, LeakyReluDefault) \
  ACTIVATION(elu, Elu)

#define PYNEURAL_KIND(name, type) name,
enum class ActivationKind : int32_t { PYNEURAL_ACTIVATIONS(PYNEURAL_KIND) };
#undef PYNEURAL_KIND

struct ActivationProperties {
  std::string_view name;
  bool is_smooth;
  bool needs_preactivation;  // f' is no function of f(z): a backward wants z itself
};
// In the order of ActivationKind.
#define PYNEURAL_PROPERTIES(name, type) \
  ActivationProperties{#name, type::kSmooth, !type::kFromValue},
constexpr std::array kActivations{PYNEURAL_ACTIVATIONS(PYNEURAL_PROPERTIES)};
#undef PYNEURAL_PROPERTIES

// False where there is no activation of that name.
inline bool find_activation(std::string_view name, ActivationKind* kind) {
  for (size_t i = 0; i < kActivations.size(); ++i)
    if (kActivations[i].name == name) {
      *kind = static_cast<ActivationKind>(i);
      return true;
    }
  return false;
}

inline const ActivationProperties& properties_of(ActivationKind kind) {
  return kActivations[static_cast<size_t>(kind)];
}

// Calls visit(Activation{}).
template <class Visit>
PYNEURAL_INLINE void visit_activation(ActivationKind kind, const Visit& visit) {
#define PYNEURAL_CASE(name, type) \
  case ActivationKind::name:      \
    return visit(type{});
  switch (kind) { PYNEURAL_ACTIVATIONS(PYNEURAL_CASE) }
#undef PYNEURAL_CASE
}

// Whether f' is no function of f(z), so that a backward wants z itself.
PYNEURAL_INLINE bool needs_preactivation(ActivationKind kind) {
  bool from_value = false;
  visit_activation(kind, [&](auto f) { from_value = decltype(f)::kFromValue; });
  return !from_value;
}

// grad f'(z) from what a forward saved for it: f(z) where f' is a function of that, else z. As in
// torch, relu leaves nothing of a gradient at z <= 0, even of one that is infinite or NaN.
template <class Activation, class V>
PYNEURAL_INLINE V multiply_by_slope(V grad, V saved) {
  if constexpr (std::is_same_v<Activation, Relu>) {
    return Math<V>::where_at_most_0(saved, V(0), grad);
  } else {
    V f[2];
    if constexpr (Activation::kFromValue)
      Activation::template derivatives<1>(saved, saved, f);
    else
      Activation::template evaluate<1>(saved, f);
    return grad * f[1];
  }
}

}  // namespace pyneural
