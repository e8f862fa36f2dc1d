// residual_pass.h for one point by one thread: a residual program's values and their gradients.
#pragma once

#include <bit>
#include <cmath>
#include <utility>

#include "../common/activation.h"
#include "residual_functions.h"
#include "residual_steps.h"

namespace pyneural::jet {

// One number with what residual_functions.h asks of a vector.
template <class T>
struct Lane {
  T value;

  PYNEURAL_INLINE constexpr Lane(T value) : value(value) {}
  PYNEURAL_INLINE constexpr Lane neg() const { return -value; }
  PYNEURAL_INLINE constexpr Lane sqrt() const { return std::sqrt(value); }
  PYNEURAL_INLINE constexpr Lane sin() const { return std::sin(value); }
  PYNEURAL_INLINE constexpr Lane cos() const { return std::cos(value); }
  PYNEURAL_INLINE constexpr Lane exp() const { return std::exp(value); }
  PYNEURAL_INLINE constexpr Lane log() const { return std::log(value); }
  PYNEURAL_INLINE constexpr Lane abs() const { return std::abs(value); }
  // b where the mask is set
  PYNEURAL_INLINE static constexpr Lane blendv(Lane a, Lane b, bool mask) { return mask ? b : a; }

  PYNEURAL_INLINE friend constexpr Lane operator+(Lane a, Lane b) { return a.value + b.value; }
  PYNEURAL_INLINE friend constexpr Lane operator-(Lane a, Lane b) { return a.value - b.value; }
  PYNEURAL_INLINE friend constexpr Lane operator*(Lane a, Lane b) { return a.value * b.value; }
  PYNEURAL_INLINE friend constexpr Lane operator/(Lane a, Lane b) { return a.value / b.value; }
  PYNEURAL_INLINE friend constexpr bool operator<(Lane a, Lane b) { return a.value < b.value; }
  PYNEURAL_INLINE friend constexpr bool operator>(Lane a, Lane b) { return a.value > b.value; }
};

}  // namespace pyneural::jet

namespace pyneural {

template <class T>
struct Math<jet::Lane<T>> {
  PYNEURAL_INLINE static constexpr jet::Lane<T> tanh(jet::Lane<T> z) { return std::tanh(z.value); }
};

}  // namespace pyneural

namespace pyneural::jet {

namespace detail {

// visit(function) with the function of an opcode. Its entry is a constant here: a device does not
// see the table itself.
template <class Visit, size_t... i>
__device__ void visit_function(int32_t opcode, const Visit& visit, std::index_sequence<i...>) {
  const auto visit_one = [&](auto index) {
    constexpr auto function = std::get<decltype(index)::value>(kResidualFunctions);
    if (opcode == function.opcode) visit(function);
  };
  (visit_one(std::integral_constant<size_t, i>()), ...);
}

}  // namespace detail

// Of one point, whose values and gradients lie `stride` elements apart. Outputs has
//   output(o, c)        channel c of the network's output o
//   input(d)            coordinate d
//   coefficient(q)      coefficient q
//   column(r)           column r
// and add_to_output(o, c, grad), add_to_coefficient(q, grad), which take gradients.
template <class T>
struct PointProgram {
  const ResidualStep* steps;
  int values;
  T *value, *grad;
  int64_t stride;

  template <class Point>
  __device__ void forward(const Point& point) const {
    for (int i = 0; i < values; ++i) {
      const ResidualStep step = steps[i];
      T result = T(0);
      switch (step.opcode) {
        case kConstant:
          result = static_cast<T>(std::bit_cast<double>(step.b));
          break;
        case kCoefficient:
          result = point.coefficient(step.a);
          break;
        case kInput:
          result = point.input(step.a);
          break;
        case kChannel:
          result = point.output(step.b, step.a);
          break;
        case kColumn:
          result = point.column(step.a);
          break;
        default:
          visit(step, [&](const auto& function) {
            const Lane<T> a = value[step.a * stride];
            if constexpr (std::decay_t<decltype(function)>::kOperands == 2)
              result = function.value(a, Lane<T>(value[step.b * stride])).value;
            else
              result = function.value(a).value;
          });
      }
      value[i * stride] = result;
    }
  }

  // After forward: the gradients of value `of`, which `point` takes.
  template <class Point>
  __device__ void backward(int64_t of, const Point& point) const {
    for (int i = 0; i < values; ++i) grad[i * stride] = T(i == of);
    for (int i = values - 1; i >= 0; --i) {
      const ResidualStep step = steps[i];
      const T g = grad[i * stride];
      if (step.opcode == kCoefficient) {
        point.add_to_coefficient(step.a, g);
      } else if (step.opcode == kChannel) {
        point.add_to_output(step.b, step.a, g);
      } else {
        visit(step, [&](const auto& function) {
          const Lane<T> f = value[i * stride], a = value[step.a * stride];
          if constexpr (std::decay_t<decltype(function)>::kOperands == 2) {
            const Lane<T> b = value[step.b * stride];
            grad[step.a * stride] += function.grad_a(Lane<T>(g), a, b, f).value;
            grad[step.b * stride] += function.grad_b(Lane<T>(g), a, b, f).value;
          } else {
            grad[step.a * stride] += function.grad_a(Lane<T>(g), a, f).value;
          }
        });
      }
    }
  }

 private:
  template <class Visit>
  __device__ static void visit(const ResidualStep& step, const Visit& visit) {
    constexpr size_t kCount = std::tuple_size_v<decltype(kResidualFunctions)>;
    detail::visit_function(step.opcode, visit, std::make_index_sequence<kCount>());
  }
};

}  // namespace pyneural::jet
