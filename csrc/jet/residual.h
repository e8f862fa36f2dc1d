// Residual equations as a small program in text, evaluated on a tile of points and differentiated
// in reverse: which gives the loss of a PDE residual and its gradient in one pass.
//
// "channel 0 0; channel 1 0; mul 0 1; residual 2" is u u_t: one instruction after another, each
// defining the next value, numbered from 0. `residual a` defines none: it marks an equation a = 0.
//
//   channel k o   derivative k (0: the value) of output o     input d        coordinate d
//   const 3.5     a constant                                  coefficient q  element q
//   add, sub, mul, div a b; neg, square, sqrt, sin, cos, exp, log, tanh, abs a
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "jet_tile.h"
#include "text.h"

namespace pyneural::jet {

enum class Operation {
  channel,
  input,
  constant,
  coefficient,
  residual,
  add,
  sub,
  mul,
  div,
  neg,
  square,
  sqrt,
  sin,
  cos,
  exp,
  log,
  tanh,
  abs,
};

struct OperationName {
  std::string_view name;
  Operation operation;
  int values, indices;  // operands: earlier values, then indices of another kind
};

constexpr std::array<OperationName, 18> kOperations{{
    {"channel", Operation::channel, 0, 2},
    {"input", Operation::input, 0, 1},
    {"const", Operation::constant, 0, 0},
    {"coefficient", Operation::coefficient, 0, 1},
    {"residual", Operation::residual, 1, 0},
    {"add", Operation::add, 2, 0},
    {"sub", Operation::sub, 2, 0},
    {"mul", Operation::mul, 2, 0},
    {"div", Operation::div, 2, 0},
    {"neg", Operation::neg, 1, 0},
    {"square", Operation::square, 1, 0},
    {"sqrt", Operation::sqrt, 1, 0},
    {"sin", Operation::sin, 1, 0},
    {"cos", Operation::cos, 1, 0},
    {"exp", Operation::exp, 1, 0},
    {"log", Operation::log, 1, 0},
    {"tanh", Operation::tanh, 1, 0},
    {"abs", Operation::abs, 1, 0},
}};

struct Instruction {
  Operation operation;
  int64_t a = 0, b = 0;
  double constant = 0;
};

struct ResidualProgram {
  std::vector<Instruction> values;  // one a value
  std::vector<int64_t> residuals;   // values that are equations
};

// What the indices of a program may run over.
struct ResidualLimits {
  int64_t channels, outputs, inputs, coefficients;
};

// False, with what is wrong in `error`, where the text is not a program within the limits.
inline bool parse_residual(std::string_view text, const ResidualLimits& limits,
                           ResidualProgram* program, std::string* error) {
  while (!text.empty()) {
    const std::string_view statement = take_until(';', &text);
    std::string_view rest = statement;
    const std::string_view name = take_word(&rest);
    if (name.empty()) continue;
    const auto fail = [&](const std::string& expected) {
      *error = "expected " + expected + ", got \"" + std::string(statement) + "\"";
      return false;
    };
    const auto known = std::find_if(kOperations.begin(), kOperations.end(),
                                    [&](const OperationName& o) { return o.name == name; });
    if (known == kOperations.end()) return fail("an instruction of the residual program");
    Instruction instruction{known->operation};
    int64_t* operand[] = {&instruction.a, &instruction.b};
    for (int i = 0; i < known->values + known->indices; ++i)
      if (!read_number(take_word(&rest), operand[i])) return fail("whole numbers as operands");
    if (known->operation == Operation::constant &&
        !read_number(take_word(&rest), &instruction.constant))
      return fail("a number");
    if (!take_word(&rest).empty()) return fail("no further operand");
    const auto within = [](int64_t index, int64_t size) { return index >= 0 && index < size; };
    for (int i = 0; i < known->values; ++i)
      if (!within(*operand[i], static_cast<int64_t>(program->values.size())))
        return fail("values that are already defined");
    switch (known->operation) {
      case Operation::channel:
        if (!within(instruction.a, limits.channels) || !within(instruction.b, limits.outputs))
          return fail("a derivative and an output that the call has");
        break;
      case Operation::input:
        if (!within(instruction.a, limits.inputs)) return fail("an input that x has");
        break;
      case Operation::coefficient:
        if (!within(instruction.a, limits.coefficients)) return fail("a coefficient that is given");
        break;
      default:
        break;
    }
    if (known->operation == Operation::residual)
      program->residuals.push_back(instruction.a);
    else
      program->values.push_back(instruction);
  }
  if (program->residuals.empty()) *error = "expected at least one \"residual\", got none";
  return !program->residuals.empty();
}

// One thread's evaluation of a program on the tiles that it works on.
template <class T>
class ResidualPass {
 public:
  static int64_t storage(const ResidualProgram& program, int64_t points) {
    return 2 * static_cast<int64_t>(program.values.size()) * points;
  }

  ResidualPass(const ResidualProgram& program, const T* coefficients, Tile<T>& tile, T* storage)
      : program_(program), plan_(tile.network().plan), tile_(tile), points_(tile.shape().points) {
    for (size_t i = 0; i < program.values.size(); ++i, storage += 2 * points_) {
      const Instruction& in = program.values[i];
      value_.push_back(storage);
      grad_.push_back(storage + points_);
      if (in.operation == Operation::constant)
        std::fill_n(value_[i], points_, static_cast<T>(in.constant));
      if (in.operation == Operation::coefficient)
        std::fill_n(value_[i], points_, coefficients[in.a]);
    }
  }

  // From the tile's outputs: the sum of squared residuals over its first n points. Where a gradient
  // is wanted (grad_coefficients not null), fills the tile's grad_output with that of
  // `scale` times the sum, and adds to grad_coefficients.
  double evaluate(int64_t n, T scale, T* grad_coefficients) {
    points_ = tile_.shape().points;
    for (size_t i = 0; i < program_.values.size(); ++i) forward(i);
    double sum = 0;
    for (const int64_t r : program_.residuals) sum += sum_of_squares(value_[r], n);
    if (!grad_coefficients) return sum;
    for (T* grad : grad_) std::fill_n(grad, points_, T(0));
    for (const int64_t r : program_.residuals)
      for (int64_t p = 0; p < n; ++p) grad_[r][p] += 2 * scale * value_[r][p];
    for (int64_t o = 0; o < tile_.network().outputs(); ++o)
      std::fill_n(tile_.grad_output(o, 0), tile_.shape().columns, T(0));
    for (size_t i = program_.values.size(); i-- > 0;) backward(i, n, grad_coefficients);
    return sum;
  }

 private:
  template <class F>
  void each(F&& f) const {
    for (int64_t p = 0; p < points_; p += lanes<T>()) f(p);
  }

  static double sum_of_squares(const T* value, int64_t n) {
    const int64_t whole = n / lanes<T>() * lanes<T>();
    Vec<T> squares(T(0));
    for (int64_t p = 0; p < whole; p += lanes<T>()) {
      const Vec<T> v = Vec<T>::loadu(value + p);
      squares = at::vec::fmadd(v, v, squares);
    }
    double sum = static_cast<double>(lane_sum<T>(squares));
    for (int64_t p = whole; p < n; ++p) sum += static_cast<double>(value[p] * value[p]);
    return sum;
  }

  void forward(size_t i) {
    using V = Vec<T>;
    const Instruction& in = program_.values[i];
    T* const out = value_[i];
    const auto unary = [&](auto f) {
      each([&](int64_t p) { f(V::loadu(value_[in.a] + p)).store(out + p); });
    };
    const auto binary = [&](auto f) {
      each([&](int64_t p) {
        f(V::loadu(value_[in.a] + p), V::loadu(value_[in.b] + p)).store(out + p);
      });
    };
    switch (in.operation) {
      case Operation::add:
        return binary([](V a, V b) { return a + b; });
      case Operation::sub:
        return binary([](V a, V b) { return a - b; });
      case Operation::mul:
        return binary([](V a, V b) { return a * b; });
      case Operation::div:
        return binary([](V a, V b) { return a / b; });
      case Operation::neg:
        return unary([](V a) { return a.neg(); });
      case Operation::square:
        return unary([](V a) { return a * a; });
      case Operation::sqrt:
        return unary([](V a) { return a.sqrt(); });
      case Operation::sin:
        return unary([](V a) { return a.sin(); });
      case Operation::cos:
        return unary([](V a) { return a.cos(); });
      case Operation::exp:
        return unary([](V a) { return a.exp(); });
      case Operation::log:
        return unary([](V a) { return a.log(); });
      case Operation::tanh:
        return unary([](V a) { return Math<V>::tanh(a); });
      case Operation::abs:
        return unary([](V a) { return a.abs(); });
      case Operation::channel:
        value_[i] = tile_.output(in.b, plan_.output[in.a]);
        return;
      case Operation::input:
        value_[i] = tile_.input(in.a);
        return;
      case Operation::constant:
      case Operation::coefficient:
      case Operation::residual:
        return;
    }
  }

  // Adds grad[i] times the operation's derivatives to the operands' grads.
  void backward(size_t i, int64_t n, T* grad_coefficients) {
    using V = Vec<T>;
    const Instruction& in = program_.values[i];
    const auto add_to = [&](T* target, auto f) {
      each([&](int64_t p) { (V::loadu(target + p) + f(p)).store(target + p); });
    };
    const auto grad = [&](int64_t p) { return V::loadu(grad_[i] + p); };
    const auto value = [&](int64_t p) { return V::loadu(value_[i] + p); };
    const auto a = [&](int64_t p) { return V::loadu(value_[in.a] + p); };
    const auto b = [&](int64_t p) { return V::loadu(value_[in.b] + p); };
    T* const grad_a = grad_[in.a < static_cast<int64_t>(i) ? in.a : i];
    T* const grad_b = grad_[in.b < static_cast<int64_t>(i) ? in.b : i];
    const V one(T(1)), two(T(2));
    switch (in.operation) {
      case Operation::add:
        add_to(grad_a, grad);
        return add_to(grad_b, grad);
      case Operation::sub:
        add_to(grad_a, grad);
        return add_to(grad_b, [&](int64_t p) { return grad(p).neg(); });
      case Operation::mul:
        add_to(grad_a, [&](int64_t p) { return grad(p) * b(p); });
        return add_to(grad_b, [&](int64_t p) { return grad(p) * a(p); });
      case Operation::div:
        add_to(grad_a, [&](int64_t p) { return grad(p) / b(p); });
        return add_to(grad_b, [&](int64_t p) { return (grad(p) * value(p) / b(p)).neg(); });
      case Operation::neg:
        return add_to(grad_a, [&](int64_t p) { return grad(p).neg(); });
      case Operation::square:
        return add_to(grad_a, [&](int64_t p) { return two * grad(p) * a(p); });
      case Operation::sqrt:
        return add_to(grad_a, [&](int64_t p) { return grad(p) / (two * value(p)); });
      case Operation::sin:
        return add_to(grad_a, [&](int64_t p) { return grad(p) * a(p).cos(); });
      case Operation::cos:
        return add_to(grad_a, [&](int64_t p) { return (grad(p) * a(p).sin()).neg(); });
      case Operation::exp:
        return add_to(grad_a, [&](int64_t p) { return grad(p) * value(p); });
      case Operation::log:
        return add_to(grad_a, [&](int64_t p) { return grad(p) / a(p); });
      case Operation::tanh:
        return add_to(grad_a, [&](int64_t p) { return grad(p) * (one - value(p) * value(p)); });
      case Operation::abs:
        return add_to(grad_a, [&](int64_t p) {
          const V negative = V::blendv(V(T(0)), grad(p).neg(), a(p) < V(T(0)));
          return Math<V>::where_positive(a(p), grad(p), negative);
        });
      case Operation::channel:
        return add_to(tile_.grad_output(in.b, plan_.output[in.a]), grad);
      case Operation::coefficient: {
        T sum = 0;
        for (int64_t p = 0; p < n; ++p) sum += grad_[i][p];
        grad_coefficients[in.a] += sum;
        return;
      }
      case Operation::input:
      case Operation::constant:
      case Operation::residual:
        return;
    }
  }

  const ResidualProgram& program_;
  const Plan& plan_;
  Tile<T>& tile_;
  int64_t points_;
  std::vector<T*> value_, grad_;  // [values] each [P]
};

}  // namespace pyneural::jet
