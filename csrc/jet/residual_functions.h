// The functions that a residual may be made of: one entry each for the kernel and for the names and
// opcodes that Python compares with its own table, pyneural/ops/jet/residual.py.
//
// An entry has an opcode, which exported programs hold and which therefore never changes; a name;
// the value; and, for each operand, the gradient, from the gradient g of the value, the operands
// and the value f. V is any vector of at::vec.
#pragma once

#include <cstdint>
#include <string_view>
#include <tuple>

#include "../common/activation.h"

namespace pyneural::jet {

// Instructions that are no functions: `residual a` marks value a as an equation a = 0, the others
// are values from outside.
enum Opcode : int64_t { kResidual, kConstant, kCoefficient, kInput, kChannel, kColumn };

template <class Value, class GradA>
struct UnaryFunction {
  static constexpr int kOperands = 1;
  int64_t opcode;
  std::string_view name;
  Value value;
  GradA grad_a;
};
template <class Value, class GradA>
UnaryFunction(int64_t, std::string_view, Value, GradA) -> UnaryFunction<Value, GradA>;

template <class Value, class GradA, class GradB>
struct BinaryFunction {
  static constexpr int kOperands = 2;
  int64_t opcode;
  std::string_view name;
  Value value;
  GradA grad_a;
  GradB grad_b;
};
template <class Value, class GradA, class GradB>
BinaryFunction(int64_t, std::string_view, Value, GradA, GradB)
    -> BinaryFunction<Value, GradA, GradB>;

inline constexpr std::tuple kResidualFunctions{
    BinaryFunction{8, "add", []<class V>(V a, V b) { return a + b; },
                   []<class V>(V g, V, V, V) { return g; },  //
                   []<class V>(V g, V, V, V) { return g; }},
    BinaryFunction{9, "sub", []<class V>(V a, V b) { return a - b; },
                   []<class V>(V g, V, V, V) { return g; },
                   []<class V>(V g, V, V, V) { return g.neg(); }},
    BinaryFunction{10, "mul", []<class V>(V a, V b) { return a * b; },
                   []<class V>(V g, V, V b, V) { return g * b; },
                   []<class V>(V g, V a, V, V) { return g * a; }},
    BinaryFunction{11, "div", []<class V>(V a, V b) { return a / b; },
                   []<class V>(V g, V, V b, V) { return g / b; },
                   []<class V>(V g, V, V b, V f) { return (g * f / b).neg(); }},
    UnaryFunction{12, "neg", []<class V>(V a) { return a.neg(); },
                  []<class V>(V g, V, V) { return g.neg(); }},
    UnaryFunction{13, "square", []<class V>(V a) { return a * a; },
                  []<class V>(V g, V a, V) { return V(2) * g * a; }},
    UnaryFunction{14, "sqrt", []<class V>(V a) { return a.sqrt(); },
                  []<class V>(V g, V, V f) { return g / (V(2) * f); }},
    UnaryFunction{15, "sin", []<class V>(V a) { return a.sin(); },
                  []<class V>(V g, V a, V) { return g * a.cos(); }},
    UnaryFunction{16, "cos", []<class V>(V a) { return a.cos(); },
                  []<class V>(V g, V a, V) { return (g * a.sin()).neg(); }},
    UnaryFunction{17, "exp", []<class V>(V a) { return a.exp(); },
                  []<class V>(V g, V, V f) { return g * f; }},
    UnaryFunction{18, "log", []<class V>(V a) { return a.log(); },
                  []<class V>(V g, V a, V) { return g / a; }},
    UnaryFunction{19, "tanh", []<class V>(V a) { return Math<V>::tanh(a); },
                  []<class V>(V g, V, V f) { return g * (V(1) - f * f); }},
    UnaryFunction{20, "abs", []<class V>(V a) { return a.abs(); },
                  []<class V>(V g, V a, V) {
                    return V::blendv(V::blendv(V(0), g.neg(), a < V(0)), g, a > V(0));
                  }},
};

// Calls visit(function) with the function of an opcode; false where there is none.
template <class Visit>
bool visit_residual_function(int64_t opcode, const Visit& visit) {
  return std::apply(
      [&](const auto&... function) {
        return ((function.opcode == opcode && (visit(function), true)) || ...);
      },
      kResidualFunctions);
}

}  // namespace pyneural::jet
