// A residual program evaluated on a tile of points and differentiated in reverse: which gives the
// loss of a PDE residual and its gradient in one pass.
#pragma once

#include <numeric>

#include "jet_gradient.h"
#include "residual.h"

namespace pyneural::jet {

// Where the gradients of a pass go that are not the network's; null where they are not wanted.
template <class T>
struct ResidualGrads {
  T* coefficients;  // [Q], added to
  T* columns;       // [R, N], zeros at first: every point is one tile's
};

// One thread's evaluation of a program on the tiles that it works on.
template <class T>
class ResidualPass {
 public:
  static int64_t storage(const ResidualProgram& program, int64_t points) {
    return 2 * static_cast<int64_t>(program.values.size()) * points;
  }

  // columns [R, N]
  ResidualPass(const ResidualProgram& program, const T* coefficients, const T* columns,
               Tile<T>& tile, T* storage)
      : program_(program),
        plan_(tile.network().plan),
        columns_(columns),
        tile_(tile),
        points_(tile.shape().points) {
    for (size_t i = 0; i < program.values.size(); ++i, storage += 2 * points_) {
      const Instruction& in = program.values[i];
      own_.push_back(storage);
      grad_.push_back(storage + points_);
      if (in.opcode == kConstant)
        std::fill_n(own_[i], points_, static_cast<T>(program.constants[in.a]));
      if (in.opcode == kCoefficient) std::fill_n(own_[i], points_, coefficients[in.a]);
    }
    value_.assign(own_.begin(), own_.end());
  }

  // From the outputs of the tile, whose n points begin at `first`: the sum of squared residuals.
  // Where a gradient is wanted, fills the tile's grad_output with that of `scale` times the sum,
  // and gives the other gradients.
  double evaluate(int64_t first, int64_t n, T scale, bool with_gradient,
                  const ResidualGrads<T>& grads) {
    points_ = tile_.shape().points;
    for (size_t i = 0; i < program_.values.size(); ++i) forward(i, first, n);
    double sum = 0;
    for (const int64_t r : program_.residuals) sum += sum_of_squares(value_[r], n);
    if (!with_gradient) return sum;
    for (T* grad : grad_) std::fill_n(grad, points_, T(0));
    for (const int64_t r : program_.residuals)
      for (int64_t p = 0; p < n; ++p) grad_[r][p] += 2 * scale * value_[r][p];
    clear_grad_output(tile_);
    for (size_t i = program_.values.size(); i-- > 0;) backward(i, first, n, grads);
    return sum;
  }

  // After evaluate: adds the grads of the coordinates that the program reads to grad_x [D][P].
  void add_input_grad(T* grad_x) const {
    for (size_t i = 0; i < program_.values.size(); ++i)
      if (const Instruction& in = program_.values[i]; in.opcode == kInput)
        for (int64_t p = 0; p < points_; p += lanes<T>())
          add(V::loadu(grad_[i] + p), grad_x + in.a * points_ + p);
  }

 private:
  using V = Vec<T>;

  static double sum_of_squares(const T* value, int64_t n) {
    const int64_t whole = n / lanes<T>() * lanes<T>();
    V squares(T(0));
    for (int64_t p = 0; p < whole; p += lanes<T>()) {
      const V v = V::loadu(value + p);
      squares = at::vec::fmadd(v, v, squares);
    }
    double sum = static_cast<double>(lane_sum<T>(squares));
    for (int64_t p = whole; p < n; ++p) sum += static_cast<double>(value[p] * value[p]);
    return sum;
  }

  // n points of row a of the columns, and the last one again where the tile is padded.
  const T* column(int64_t a, int64_t first, int64_t n, T* padded) const {
    const T* const from = columns_ + a * tile_.network().points + first;
    if (n == points_) return from;
    std::copy_n(from, n, padded);
    std::fill(padded + n, padded + points_, from[n - 1]);
    return padded;
  }

  void forward(size_t i, int64_t first, int64_t n) {
    const Instruction& in = program_.values[i];
    if (in.opcode == kChannel) value_[i] = tile_.output(in.b, plan_.output[in.a]);
    if (in.opcode == kInput) value_[i] = tile_.input(in.a);
    if (in.opcode == kColumn) value_[i] = column(in.a, first, n, own_[i]);
    visit_residual_function(in.opcode, [&](const auto& function) {
      const T *const a = value_[in.a], *const b = value_[in.b];
      for (int64_t p = 0; p < points_; p += lanes<T>()) {
        if constexpr (std::decay_t<decltype(function)>::kOperands == 2)
          function.value(V::loadu(a + p), V::loadu(b + p)).store(own_[i] + p);
        else
          function.value(V::loadu(a + p)).store(own_[i] + p);
      }
    });
  }

  // Adds the gradients of value i's operands to theirs.
  void backward(size_t i, int64_t first, int64_t n, const ResidualGrads<T>& grads) {
    const Instruction& in = program_.values[i];
    if (in.opcode == kCoefficient && grads.coefficients)
      grads.coefficients[in.a] += std::accumulate(grad_[i], grad_[i] + n, T(0));
    if (in.opcode == kColumn && grads.columns) {
      T* const to = grads.columns + in.a * tile_.network().points + first;
      for (int64_t p = 0; p < n; ++p) to[p] += grad_[i][p];
    }
    if (in.opcode == kChannel) {
      T* const to = tile_.grad_output(in.b, plan_.output[in.a]);
      for (int64_t p = 0; p < points_; p += lanes<T>()) add(V::loadu(grad_[i] + p), to + p);
    }
    visit_residual_function(in.opcode, [&](const auto& function) {
      const T *const a = value_[in.a], *const b = value_[in.b];
      for (int64_t p = 0; p < points_; p += lanes<T>()) {
        const V g = V::loadu(grad_[i] + p), f = V::loadu(value_[i] + p), at_a = V::loadu(a + p);
        if constexpr (std::decay_t<decltype(function)>::kOperands == 2) {
          const V at_b = V::loadu(b + p);
          add(function.grad_a(g, at_a, at_b, f), grad_[in.a] + p);
          add(function.grad_b(g, at_a, at_b, f), grad_[in.b] + p);
        } else {
          add(function.grad_a(g, at_a, f), grad_[in.a] + p);
        }
      }
    });
  }

  static void add(V value, T* to) { (V::loadu(to) + value).store(to); }

  const ResidualProgram& program_;
  const Plan& plan_;
  const T* columns_;
  Tile<T>& tile_;
  int64_t points_;
  std::vector<const T*> value_;  // [values] each [P]: own_, or where the value already lies
  std::vector<T*> own_, grad_;   // [values] each [P]
};

}  // namespace pyneural::jet
