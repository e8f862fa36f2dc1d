// A block of points on its way along a continuous flow, and its gradient backwards.
//
// A block has its own steps, in the cache from the first to the last. The backward takes the same
// steps again, notes the state and the slopes of each, and goes through them in reverse: the
// gradient is the exact one of what was computed, with the lengths of the steps held fixed.
//
// Letters: D features, R rows of a state: x and, where it is wanted, the log-determinant; n points.
#pragma once

#include <limits>
#include <utility>
#include <vector>

#include "dopri5.h"
#include "evaluation.h"

namespace pyneural::continuous_flow {

// An error of the log-determinant is no error of the path, so it is tolerated this much more.
constexpr double kLadjScale = 1e-2;

template <class T>
class Block {
 public:
  // Points of a block, whatever the number of threads: about 48, in an odd number of panels, so
  // that rows do not share a few sets of the caches.
  static int64_t points() { return (48 / panel_width<T>() | 1) * panel_width<T>(); }

  Block(const Flow& flow, const Field<T>& field, bool with_backward, Scratch& scratch)
      : flow_(flow),
        features_(flow.features),
        rows_(flow.features + flow.with_ladj),
        stride_(points()),
        state_size_(rows_ * stride_),
        evaluation_(flow, field, with_backward, stride_, scratch) {
    state_ = scratch.take<T>(state_size_);
    trial_ = scratch.take<T>(state_size_);
    error_ = scratch.take<T>(state_size_);
    for (T*& slope : slope_) slope = scratch.take<T>(state_size_);
    if (!with_backward) return;
    grad_x_ = scratch.take<T>(state_size_);
    of_ladj_ = scratch.take<T>(stride_);
    for (T*& grad : grad_slope_) grad = scratch.take<T>(state_size_);
  }

  void forward(const T* x, const T* context, int64_t count, T* y, T* ladj) {
    start(x, context, count);
    integrate([](double, double) {});
    evaluation_.store(state_, features_, count, y);
    if (ladj) std::copy_n(state_ + features_ * stride_, count, ladj);
  }

  // Fills grad_x and grad_context and adds to the gradients of the parameters, each where it is not
  // null.
  void backward(const T* x, const T* context, const T* grad_y, const T* grad_ladj, int64_t count,
                const Gradients<T>* gradients, T* grad_x, T* grad_context) {
    start(x, context, count);
    steps_.clear();
    saved_.clear();
    integrate([&](double t, double h) {
      steps_.push_back({t, h});
      saved_.insert(saved_.end(), state_, state_ + features_ * stride_);
      for (int i = 0; i + 1 < Dopri5::kStages; ++i)
        saved_.insert(saved_.end(), slope_[i], slope_[i] + features_ * stride_);
    });
    load_gradient(grad_y, features_, count, state_);  // of the state, from here on
    if (grad_ladj) load_gradient(grad_ladj, 1, count, state_ + features_ * stride_);
    for (size_t i = steps_.size(); i-- > 0;)
      differentiate_step(steps_[i], saved_.data() + i * kSaved * features_ * stride_, gradients);
    if (grad_x) evaluation_.store(state_, features_, count, grad_x);
    evaluation_.finish(grad_context, gradients);
  }

 private:
  static constexpr int64_t kSaved = Dopri5::kStages;  // the state and all slopes but the last
  struct Step {
    double t, h;
  };

  void start(const T* x, const T* context, int64_t count) {
    width_ = whole_vectors<T>(count);
    evaluation_.begin(context, count);
    evaluation_.load(x, features_, count, state_);
    if (flow_.with_ladj) std::fill_n(state_ + features_ * stride_, width_, T(0));
  }

  void load_gradient(const T* from, int64_t columns, int64_t count, T* to) const {
    evaluation_.load(from, columns, count, to);
    for (int64_t c = 0; c < columns; ++c)
      std::fill(to + c * stride_ + count, to + c * stride_ + width_, T(0));
  }

  // The slope of the state at x, [R][n].
  void evaluate(double t, const T* x, T* slope, bool with_ladj = true) {
    evaluation_.evaluate(t, x, slope,
                         with_ladj && flow_.with_ladj ? slope + features_ * stride_ : nullptr);
  }

  // note(t, h) is called with each step that is accepted, before the state moves on.
  template <class Note>
  void integrate(const Note& note) {
    evaluate(flow_.start, state_, slope_[0]);
    if (flow_.steps > 0)
      integrate_equal_steps(note);
    else
      integrate_adaptive_steps(note);
  }

  template <class Note>
  void integrate_equal_steps(const Note& note) {
    const double h = (flow_.end - flow_.start) / static_cast<double>(flow_.steps);
    for (int64_t i = 0; i < flow_.steps; ++i) {
      const double t = flow_.start + static_cast<double>(i) * h;
      step(t, h);
      note(t, h);
      move_on();
    }
  }

  template <class Note>
  void integrate_adaptive_steps(const Note& note) {
    const double span = flow_.end - flow_.start, whole = std::abs(span),
                 smallest = 4 * std::numeric_limits<T>::epsilon() *
                            std::max(std::abs(flow_.start), std::abs(flow_.end));
    Controller controller;
    double length = first_step(span), done = 0;  // the latter in parts of the span
    int64_t taken = 0;
    for (int64_t i = 0; i < flow_.max_steps; ++i) {
      const double part = length / whole;
      const bool is_last = done + part >= 1;
      const double h = is_last ? 1 - done : part, t = flow_.start + done * span;
      step(t, h * span);
      const double error = error_of_step(h * span);
      length = h * whole * controller.factor(error);
      if (error <= 1) {
        note(t, h * span);
        move_on();
        if (is_last) return;
        done += h;
        ++taken;
      } else if (length < smallest) {
        fail_in_step(t, length, error);
      }
    }
    TORCH_CHECK(false, "continuous_flow: max_steps: expected to reach t = ", flow_.end,
                ", got to t = ", flow_.start + done * span, " in ", flow_.max_steps, " steps, ",
                taken, " of them accepted, the last ones of length ", length,
                "; the equation is stiff or changes fast: raise rtol and atol, or max_steps");
  }

  [[noreturn]] static void fail_in_step(double t, double length, double error) {
    TORCH_CHECK(!std::isfinite(error), "continuous_flow: x: at t = ", t,
                " expected steps that the time resolves, got ", length,
                "; raise rtol and atol, or compute in float64");
    TORCH_CHECK(false, "continuous_flow: x: at t = ", t,
                " expected finite values, got NaN or infinity however short the step; the solution "
                "is not bounded there, or the arguments are not finite");
  }

  double first_step(double span) {
    const double whole = std::abs(span), size = norm(state_, state_, state_),
                 rate = norm(slope_[0], state_, state_),
                 trial = Controller::trial_length(size, rate, whole),
                 h = std::copysign(trial, span);
    for_state(features_, [&](int64_t n) {
      at::vec::fmadd(load(slope_[0] + n), Vec<T>(static_cast<T>(h)), load(state_ + n))
          .store(trial_ + n);
    });
    evaluate(flow_.start + h, trial_, slope_[1]);
    for_state(rows_,
              [&](int64_t n) { (load(slope_[1] + n) - load(slope_[0] + n)).store(slope_[1] + n); });
    return Controller::first_length(trial, rate, norm(slope_[1], state_, state_) / trial, whole);
  }

  // The state at t + h in trial_, and its slope in the last of slope_.
  void step(double t, double h) {
    for (int i = 1; i < Dopri5::kStages; ++i) {
      combine(state_, h, Dopri5::a[i], slope_, features_, trial_);
      // The rate of the log-determinant has no weight in any sum where x has none at its end.
      evaluate(t + Dopri5::c[i] * h, trial_, slope_[i], has_weight(i));
    }
    if (!flow_.with_ladj) return;
    const int64_t row = features_ * stride_;
    std::array<T*, Dopri5::kStages> rates;
    for (int i = 0; i < Dopri5::kStages; ++i) rates[i] = slope_[i] + row;
    combine(state_ + row, h, Dopri5::b, rates, 1, trial_ + row);
  }
  static bool has_weight(int stage) { return Dopri5::b[stage] != 0 || Dopri5::error[stage] != 0; }

  void move_on() {
    std::swap(state_, trial_);
    std::swap(slope_[0], slope_[Dopri5::kStages - 1]);
  }

  // to = y + h sum_j a_j k_j; those with a_j = 0 are not read. With y null that sum alone.
  void combine(const T* y, double h, const Dopri5::Row& a,
               const std::array<T*, Dopri5::kStages>& slopes, int64_t rows, T* to) const {
    T factor[Dopri5::kStages];
    const T* slope[Dopri5::kStages];
    int terms = 0;
    for (int j = 0; j < Dopri5::kStages; ++j)
      if (a[j] != 0) {
        factor[terms] = static_cast<T>(h * a[j]);
        slope[terms++] = slopes[j];
      }
    for_state(rows, [&](int64_t n) {
      Vec<T> sum = y ? load(y + n) : Vec<T>(T(0));
      for (int j = 0; j < terms; ++j)
        sum = at::vec::fmadd(Vec<T>(factor[j]), load(slope[j] + n), sum);
      sum.store(to + n);
    });
  }

  // Of a step to trial_, in units of what is tolerated.
  double error_of_step(double h) {
    combine(nullptr, h, Dopri5::error, slope_, rows_, error_);
    return norm(error_, state_, trial_);
  }

  // The largest element of a value [R][n], in units of what is tolerated at two states.
  double norm(const T* value, const T* state, const T* other) const {
    const auto largest = [&](int64_t first, int64_t last, double scale) {
      const Vec<T> factor(static_cast<T>(scale)), atol(static_cast<T>(flow_.atol)),
          rtol(static_cast<T>(flow_.rtol * scale));
      Vec<T> most(T(0));
      for (int64_t r = first; r < last; ++r)
        for (int64_t n = r * stride_; n < r * stride_ + width_; n += lanes<T>()) {
          const Vec<T> size = at::vec::maximum(load(state + n).abs(), load(other + n).abs());
          most = at::vec::maximum(
              most, factor * load(value + n).abs() / at::vec::fmadd(rtol, size, atol));
        }
      T lane[lanes<T>()];
      most.store(lane);
      T result = 0;
      for (const T each : lane) result = each > result || std::isnan(each) ? each : result;
      return static_cast<double>(result);
    };
    const double of_x = largest(0, features_, 1), of_ladj = largest(features_, rows_, kLadjScale);
    return of_x > of_ladj || std::isnan(of_x) ? of_x : of_ladj;
  }

  // From the gradients of the state behind a step, in state_, those of the state before it. saved:
  // that state and the slopes, [7][D][n].
  void differentiate_step(const Step& step, T* saved, const Gradients<T>* gradients) {
    constexpr int kStages = Dopri5::kStages - 1;  // the last one's slope belongs to the next step
    const int64_t size = features_ * stride_;
    std::array<T*, Dopri5::kStages> slopes{};
    for (int i = 0; i < kStages; ++i) slopes[i] = saved + (i + 1) * size;
    for (int i = 0; i < kStages; ++i) add(step.h * Dopri5::b[i], state_, false, grad_slope_[i]);
    const T* const grad_ladj = state_ + size;
    for (int i = kStages - 1; i >= 0; --i) {
      combine(saved, step.h, Dopri5::a[i], slopes, features_, trial_);
      const bool with_trace = flow_.with_ladj && Dopri5::b[i] != 0;
      if (with_trace) {
        const Vec<T> weight(static_cast<T>(step.h * Dopri5::b[i]));
        for (int64_t n = 0; n < width_; n += lanes<T>())
          (weight * load(grad_ladj + n)).store(of_ladj_ + n);
      }
      evaluation_.differentiate(step.t + Dopri5::c[i] * step.h, trial_, grad_slope_[i],
                                with_trace ? of_ladj_ : nullptr, grad_x_, gradients);
      add(1, grad_x_, true, state_);
      for (int j = 0; j < i; ++j)
        if (Dopri5::a[i][j] != 0) add(step.h * Dopri5::a[i][j], grad_x_, true, grad_slope_[j]);
    }
  }

  // to = or += factor * from, of x
  void add(double factor, const T* from, bool accumulate, T* to) const {
    const Vec<T> by(static_cast<T>(factor));
    for_state(features_, [&](int64_t n) {
      at::vec::fmadd(by, load(from + n), accumulate ? load(to + n) : Vec<T>(T(0))).store(to + n);
    });
  }

  template <class Body>
  void for_state(int64_t rows, const Body& body) const {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = r * stride_; n < r * stride_ + width_; n += lanes<T>()) body(n);
  }
  static Vec<T> load(const T* from) { return Vec<T>::loadu(from); }

  const Flow& flow_;
  const int64_t features_, rows_, stride_, state_size_;
  int64_t width_ = 0;  // of the points, in whole vectors
  Evaluation<T> evaluation_;
  T *state_, *trial_, *error_;                        // [R][n]
  std::array<T*, Dopri5::kStages> slope_;             // likewise
  T *grad_x_ = nullptr, *of_ladj_ = nullptr;          // [D][n], [n]
  std::array<T*, Dopri5::kStages - 1> grad_slope_{};  // [D][n]
  std::vector<Step> steps_;
  std::vector<T> saved_;  // of each step, [7][D][n]
};

}  // namespace pyneural::continuous_flow
