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

  // Evaluates the program on the outputs of the tile, whose n points begin at `first`.
  void forward(int64_t first, int64_t n) {
    points_ = tile_.shape().points;
    first_ = first, n_ = n;
    for (size_t i = 0; i < program_.values.size(); ++i) forward(i);
  }

  // After forward: residual e at the tile's n points.
  const T* residual(int64_t e) const { return value_[program_.residuals[e]]; }

  // After forward: the sum of the squared residuals.
  double sum_of_squares() const {
    double sum = 0;
    for (const int64_t r : program_.residuals) sum += sum_of_squares(value_[r], n_);
    return sum;
  }

  // After forward: the gradients of a function of the residuals, of which add(e, grad) adds the
  // gradient for residual e to grad [n]. Fills the tile's grad_output, and gives the others.
  template <class Add>
  void backward(const ResidualGrads<T>& grads, const Add& add) {
    for (T* grad : grad_) std::fill_n(grad, points_, T(0));
    for (size_t e = 0; e < program_.residuals.size(); ++e)
      add(static_cast<int64_t>(e), grad_[program_.residuals[e]]);
    clear_grad_output(tile_);
    for (size_t i = program_.values.size(); i-- > 0;) backward(i, grads);
  }

  // After backward: each point's gradient for the coefficients, to[q * stride + p] for p < n.
  void store_coefficient_grads(T* to, int64_t coefficients, int64_t stride) const {
    for (int64_t q = 0; q < coefficients; ++q) std::fill_n(to + q * stride, n_, T(0));
    for (size_t i = 0; i < program_.values.size(); ++i)
      if (const Instruction& in = program_.values[i]; in.opcode == kCoefficient)
        for (int64_t p = 0; p < n_; ++p) to[in.a * stride + p] += grad_[i][p];
  }

  // After backward: adds the grads of the coordinates that the program reads to grad_x [D][P].
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

  // The points' elements of row a of the columns, and the last one again where the tile is padded.
  const T* column(int64_t a, T* padded) const {
    const T* const from = columns_ + a * tile_.network().points + first_;
    if (n_ == points_) return from;
    std::copy_n(from, n_, padded);
    std::fill(padded + n_, padded + points_, from[n_ - 1]);
    return padded;
  }

  void forward(size_t i) {
    const Instruction& in = program_.values[i];
    if (in.opcode == kChannel) value_[i] = tile_.output(in.b, plan_.output[in.a]);
    if (in.opcode == kInput) value_[i] = tile_.input(in.a);
    if (in.opcode == kColumn) value_[i] = column(in.a, own_[i]);
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
  void backward(size_t i, const ResidualGrads<T>& grads) {
    const Instruction& in = program_.values[i];
    if (in.opcode == kCoefficient && grads.coefficients)
      grads.coefficients[in.a] += std::accumulate(grad_[i], grad_[i] + n_, T(0));
    if (in.opcode == kColumn && grads.columns) {
      T* const to = grads.columns + in.a * tile_.network().points + first_;
      for (int64_t p = 0; p < n_; ++p) to[p] += grad_[i][p];
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
  int64_t points_;               // of the tile, whole vectors
  int64_t first_ = 0, n_ = 0;    // the points that forward was given
  std::vector<const T*> value_;  // [values] each [P]: own_, or where the value already lies
  std::vector<T*> own_, grad_;   // [values] each [P]
};

}  // namespace pyneural::jet
