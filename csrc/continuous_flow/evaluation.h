// The field and its divergence at a block of points, and the gradients of both.
//
//   a_1 = f(z_1), z_1 = W_1 [cos, sin, x, c] + b_1,   a_2 = f(z_2), z_2 = W_2 a_1 + b_2
//   u = W_3 a_2 + b_3,   tr(du/dx) = f'(z_2)^T q,   q = M f'(z_1)
//
// or the same without the second layer; see field.h for M. Units are rows and points are columns,
// [U][n], as in ../autoregressive/block.h. Time and context are a bias of the first layer, that of
// the context once for a block.
#pragma once

#include <array>

#include "../common/vector_math.h"
#include "field.h"

namespace pyneural::continuous_flow {

// z += bias + more and a = f(z) for some rows, in place, and f'(z) and f''(z) up to an order.
template <class T>
using Activate = void (*)(T* a, int64_t rows, int64_t vectors, int64_t stride, const T* bias,
                          const T* more, T* slope, T* curvature);
template <class Activation, int order, class T>
void activate(T* a, int64_t rows, int64_t vectors, int64_t stride, const T* bias, const T* more,
              T* slope, T* curvature) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = m * stride; n < m * stride + vectors * lanes<T>(); n += lanes<T>()) {
      Vec<T> z = Vec<T>::loadu(a + n) + Vec<T>(bias[m]);
      if (more) z = z + Vec<T>::loadu(more + n);
      Vec<T> f[order + 1];
      Activation::template evaluate<order>(z, f);
      f[0].store(a + n);
      if constexpr (order >= 1) f[1].store(slope + n);
      if constexpr (order >= 2) f[2].store(curvature + n);
    }
}

template <class T>
class Evaluation {
 public:
  // Rows of points are `stride` apart.
  Evaluation(const Flow& flow, const Field<T>& field, bool with_backward, int64_t stride,
             Scratch& scratch)
      : flow_(flow), field_(field), stride_(stride), last_(field.deep ? 1 : 0) {
    const auto take = [&](int64_t rows) { return scratch.take<T>(rows * stride); };
    const int64_t widest = std::max(field.first_units, field.last_units);
    for (int l = 0; l <= last_; ++l) {
      const int64_t units = l == 0 ? field.first_units : field.last_units;
      a_[l] = take(units);
      slope_[l] = take(units);
      curvature_[l] = with_backward ? take(units) : nullptr;
      grad_[l] = with_backward ? take(units) : nullptr;
    }
    q_ = take(widest);
    for (int64_t h = 0; !field.deep && h < field.last_units; ++h)
      std::fill_n(q_ + h * stride, stride, field.coupling[h]);
    bias_ = scratch.take<T>(field.first_units);
    waves_ = scratch.take<T>(2 * flow.waves);
    if (flow.context > 0) {
      context_ = take(flow.context);
      context_bias_ = take(field.first_units);
      if (with_backward) context_grad_ = take(field.first_units);
    }
    if (with_backward) transposed_ = scratch.take<T>(stride * odd_lines<T>(field.first_units));
    visit_activation(flow.activation, [&](auto f) {
      using Activation = decltype(f);
      activate_ = {activate<Activation, 0, T>, activate<Activation, 1, T>,
                   activate<Activation, 2, T>};
    });
  }

  // to [columns][n] from the rows of `count` points; the last one again up to a vector's end, which
  // no size depends on.
  void load(const T* from, int64_t columns, int64_t count, T* to) const {
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t n = 0; n < whole_vectors<T>(count); ++n)
        to[c * stride_ + n] = from[std::min(n, count - 1) * columns + c];
  }
  void store(const T* from, int64_t columns, int64_t count, T* to) const {
    for (int64_t n = 0; n < count; ++n)
      for (int64_t c = 0; c < columns; ++c) to[n * columns + c] = from[c * stride_ + n];
  }

  // Begins with `count` points, of which there is a context [count][C] or null.
  void begin(const T* context, int64_t count) {
    count_ = count;
    vectors_ = vectors_of<T>(count);
    if (!context_) return;
    load(context, flow_.context, count, context_);
    multiply(*field_.of_context, context_, stride_, context_bias_, stride_, vectors_);
    if (context_grad_) std::fill_n(context_grad_, field_.first_units * stride_, T(0));
  }

  // u [D][n] and its divergence [n], where that is not null, at x [D][n].
  void evaluate(double t, const T* x, T* u, T* trace) {
    activate_layers(t, x, trace ? 1 : 0);
    if (trace) {
      std::fill_n(trace, vectors_ * lanes<T>(), T(0));
      const auto add = [&](int64_t row, int64_t rows, int64_t v, int64_t vectors) {
        const int64_t at = row * stride_ + v * lanes<T>();
        add_products(slope_[last_] + at, q_ + at, rows, vectors, trace + v * lanes<T>());
      };
      if (field_.deep)
        multiply(*field_.coupled, slope_[0], stride_, q_, stride_, vectors_, add);
      else
        add(0, field_.last_units, 0, vectors_);
    }
    multiply(*field_.of_last, a_[last_], stride_, u, stride_, vectors_,
             [&](int64_t row, int64_t rows, int64_t v, int64_t vectors) {
               for (int64_t d = row; d < row + rows; ++d)
                 for_vectors(d, v, vectors, [&](int64_t n) {
                   (Vec<T>::loadu(u + n) + Vec<T>(field_.bias[2][d])).store(u + n);
                 });
             });
  }

  // From the gradients of u and of the divergence (null where it is not wanted, or none) that of x,
  // [D][n]; adds to those of the parameters where they are not null, and of the context.
  void differentiate(double t, const T* x, const T* grad_u, const T* grad_trace, T* grad_x,
                     const Gradients<T>* gradients) {
    activate_layers(t, x, grad_trace ? 2 : 1);
    if (grad_trace && field_.deep)
      multiply(*field_.coupled, slope_[0], stride_, q_, stride_, vectors_);
    differentiate_last(grad_u, grad_trace);
    if (gradients) add_last(grad_u, grad_trace, *gradients);
    if (field_.deep) differentiate_first(grad_trace != nullptr);
    if (gradients) add_first(x, *gradients);
    if (context_grad_)
      for (int64_t h = 0; h < field_.first_units; ++h)
        for_vectors(h, 0, vectors_, [&](int64_t n) {
          (Vec<T>::loadu(context_grad_ + n) + Vec<T>::loadu(grad_[0] + n)).store(context_grad_ + n);
        });
    multiply(*field_.to_x, grad_[0], stride_, grad_x, stride_, vectors_);
  }

  // The gradients of and by the context, over all evaluations since `begin`.
  void finish(T* grad_context, const Gradients<T>* gradients) {
    if (!context_) return;
    const int64_t C = flow_.context;
    if (gradients)
      accumulate_dots(field_.first_units, C, vectors_, context_grad_, stride_, context_, stride_,
                      gradients->first + flow_.first_column() + flow_.features, field_.inputs);
    if (!grad_context) return;
    // In place of the context, which is not needed any more.
    multiply(*field_.to_context, context_grad_, stride_, context_, stride_, vectors_);
    store(context_, C, count_, grad_context);
  }

 private:
  template <class Body>
  void for_vectors(int64_t row, int64_t vector, int64_t vectors, const Body& body) const {
    const int64_t begin = row * stride_ + vector * lanes<T>();
    for (int64_t n = begin; n < begin + vectors * lanes<T>(); n += lanes<T>()) body(n);
  }

  void activate_layers(double t, const T* x, int order) {
    set_bias(t);
    activate_layer(*field_.of_x, x, 0, order, bias_, context_bias_);
    if (field_.deep) activate_layer(*field_.of_first, a_[0], 1, order, field_.bias[1], nullptr);
  }

  void activate_layer(const PackedMatrix<T>& weight, const T* below, int l, int order,
                      const T* bias, const T* more) {
    multiply(weight, below, stride_, a_[l], stride_, vectors_,
             [&](int64_t row, int64_t rows, int64_t v, int64_t vectors) {
               const int64_t at = row * stride_ + v * lanes<T>();
               activate_[order](a_[l] + at, rows, vectors, stride_, bias + row,
                                more ? more + at : nullptr, slope_[l] + at, curvature_[l] + at);
             });
  }

  // Of the first layer: b_1 and what the time adds.
  void set_bias(double t) {
    const int64_t F = flow_.waves;
    for (int64_t f = 0; f < F; ++f) {
      waves_[f] = static_cast<T>(std::cos(flow_.frequencies[f] * t));
      waves_[F + f] = static_cast<T>(std::sin(flow_.frequencies[f] * t));
    }
    for (int64_t h = 0; h < field_.first_units; ++h) {
      T sum = field_.bias[0][h];
      for (int64_t f = 0; f < 2 * F; ++f) sum += field_.first[h * field_.inputs + f] * waves_[f];
      bias_[h] = sum;
    }
  }

  // sum[n] += sum over the rows of s[m][n] q[m][n]
  void add_products(const T* s, const T* q, int64_t rows, int64_t vectors, T* sum) const {
    for (int64_t n = 0; n < vectors * lanes<T>(); n += lanes<T>()) {
      Vec<T> total = Vec<T>::loadu(sum + n);
      for (int64_t m = 0; m < rows; ++m)
        total = at::vec::fmadd(Vec<T>::loadu(s + m * stride_ + n),
                               Vec<T>::loadu(q + m * stride_ + n), total);
      total.store(sum + n);
    }
  }

  // grad of z of the last hidden layer, and that of q in place of f'(z).
  void differentiate_last(const T* grad_u, const T* grad_trace) {
    T *const grad = grad_[last_], *const slope = slope_[last_];
    const T* const curvature = curvature_[last_];
    multiply(*field_.to_last, grad_u, stride_, grad, stride_, vectors_,
             [&](int64_t row, int64_t rows, int64_t v, int64_t vectors) {
               for (int64_t h = row; h < row + rows; ++h)
                 for_vectors(h, v, vectors, [&](int64_t n) {
                   const Vec<T> s = Vec<T>::loadu(slope + n);
                   Vec<T> g = Vec<T>::loadu(grad + n) * s;
                   if (grad_trace) {
                     const Vec<T> of_trace = Vec<T>::loadu(grad_trace + (n - h * stride_));
                     g = at::vec::fmadd(of_trace * Vec<T>::loadu(q_ + n),
                                        Vec<T>::loadu(curvature + n), g);
                     (of_trace * s).store(slope + n);
                   }
                   g.store(grad + n);
                 });
             });
  }

  // grad of z of the first of two layers.
  void differentiate_first(bool with_trace) {
    T* const grad = grad_[0];
    const auto times_slope = [&](int64_t row, int64_t rows, int64_t v, int64_t vectors) {
      for (int64_t h = row; h < row + rows; ++h)
        for_vectors(h, v, vectors, [&](int64_t n) {
          Vec<T> g = Vec<T>::loadu(grad + n) * Vec<T>::loadu(slope_[0] + n);
          if (with_trace)
            g = at::vec::fmadd(Vec<T>::loadu(q_ + n), Vec<T>::loadu(curvature_[0] + n), g);
          g.store(grad + n);
        });
    };
    if (!with_trace) {
      multiply(*field_.to_first, grad_[1], stride_, grad, stride_, vectors_, times_slope);
      return;
    }
    multiply(*field_.to_first, grad_[1], stride_, grad, stride_, vectors_);
    // The gradient of f'(z_1), in place of q.
    multiply(*field_.coupled_back, slope_[1], stride_, q_, stride_, vectors_, times_slope);
  }

  // To the gradients of all layers but the first, and of the coupling.
  void add_last(const T* grad_u, const T* grad_trace, const Gradients<T>& to) {
    const int64_t D = flow_.features, H = field_.last_units;
    accumulate_dots(D, H, vectors_, grad_u, stride_, a_[last_], stride_, to.of_last, H);
    add_row_sums(grad_u, D, to.last_bias);
    if (!field_.deep) {
      if (grad_trace) add_row_sums(slope_[0], H, to.coupling);
      return;
    }
    add_row_sums(grad_[1], H, to.second_bias);
    add_outer(grad_[1], a_[0], to.second);
    if (grad_trace) add_outer(slope_[1], slope_[0], to.coupling);
  }

  void add_first(const T* x, const Gradients<T>& to) {
    const int64_t I = field_.inputs;
    accumulate_dots(field_.first_units, flow_.features, vectors_, grad_[0], stride_, x, stride_,
                    to.first + flow_.first_column(), I);
    for (int64_t h = 0; h < field_.first_units; ++h) {
      const T sum = row_sum(grad_[0], h);
      to.first_bias[h] += sum;
      for (int64_t f = 0; f < 2 * flow_.waves; ++f) to.first[h * I + f] += sum * waves_[f];
    }
  }

  T row_sum(const T* from, int64_t row) const {
    Vec<T> sum(T(0));
    for_vectors(row, 0, vectors_, [&](int64_t n) { sum = sum + Vec<T>::loadu(from + n); });
    return lane_sum(sum);
  }
  void add_row_sums(const T* from, int64_t rows, T* to) const {
    for (int64_t m = 0; m < rows; ++m) to[m] += row_sum(from, m);
  }

  // to [H][H_1] += x y^T for x [H][n], y [H_1][n].
  void add_outer(const T* x, const T* y, T* to) {
    const int64_t columns = field_.first_units, stride = odd_lines<T>(columns),
                  points = vectors_ * lanes<T>();
    transpose(y, stride_, columns, points, transposed_, stride);
    for (int64_t i = 0; i < columns; i += panel_width<T>()) {
      const int64_t width = std::min(panel_width<T>(), columns - i);
      for_row_tiles(0, field_.last_units, [&](int64_t row, int64_t rows) {
        multiply_columns<T>({x + row * stride_, stride_, 1}, rows, points,
                            {transposed_ + i, stride, vectors_of<T>(width)}, to + row * columns + i,
                            columns, width, true);
      });
    }
  }

  const Flow& flow_;
  const Field<T>& field_;
  const int64_t stride_;
  const int last_;  // of a hidden layer, in the arrays below
  int64_t count_ = 0, vectors_ = 0;
  std::array<Activate<T>, 3> activate_;             // by the order of the highest derivative
  T *a_[2], *slope_[2], *curvature_[2], *grad_[2];  // [U][n]: f, f', f'' of z, gradient of z
  T* q_;                                            // [H][n]
  T *bias_, *waves_;                                // [H_1], [2 F]
  T *context_ = nullptr, *context_bias_ = nullptr, *context_grad_ = nullptr;  // [C], 2 x [H_1][n]
  T* transposed_ = nullptr;                                                   // [n][H_1]
};

}  // namespace pyneural::continuous_flow
