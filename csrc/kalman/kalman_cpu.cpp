// Kalman filter and smoother on the CPU, step by step, and their gradients backwards in time: a few
// hundred operations a step, where plain torch calls thirty functions. All is computed in double
// precision. The series of a batch are shared out over the threads.
//
// There is no CUDA kernel: one series is a chain of tiny products, for which a GPU is slow.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <atomic>
#include <limits>
#include <type_traits>
#include <vector>

#include "../common/parallel.h"
#include "filter.h"
#include "kalman_check.h"
#include "smoother.h"

namespace pyneural::kalman {
namespace {

// Series that one task takes; sums over them are the same with any number of threads.
constexpr int64_t kTasks = 8;

constexpr double kDoubleRounding = std::numeric_limits<double>::epsilon();
constexpr double kFloatRounding = std::numeric_limits<float>::epsilon();

template <int64_t value>
using Constant = std::integral_constant<int64_t, value>;

template <class Body>
void for_series(const Sizes& sizes, const Body& body) {
  const auto [series, steps, n, p] = sizes;
  const double a_step =
      8.0 * static_cast<double>(n + p) * static_cast<double>(n + p) * static_cast<double>(n + p);
  const int64_t tasks = std::min(series, kTasks);
  const double all = a_step * static_cast<double>(series) * static_cast<double>(steps);
  parallel_tasks(tasks, useful_threads(all), [&](int64_t task) {
    body(task, task * series / tasks, (task + 1) * series / tasks);
  });
}

// body(n) with the number of states as a constant where it is small, else with 0.
template <class Body>
void with_states(const Sizes& sizes, const Body& body) {
  switch (sizes.n) {
    case 1:
      return body(Constant<1>{});
    case 2:
      return body(Constant<2>{});
    case 3:
      return body(Constant<3>{});
    case 4:
      return body(Constant<4>{});
    default:
      return body(Constant<0>{});
  }
}

// body(n, p) with both as constants where both are small, else with 0.
template <class Body>
void with_sizes(const Sizes& sizes, const Body& body) {
  with_states(sizes, [&]<int64_t kN>(Constant<kN> n) {
    if constexpr (kN > 0) {
      if (sizes.p <= 1) return body(n, Constant<1>{});  // 0 where there are none
      if (sizes.p == 2) return body(n, Constant<2>{});
    }
    body(Constant<0>{}, Constant<0>{});
  });
}

at::Tensor in_double(const at::Tensor& tensor) { return tensor.to(at::kDouble).contiguous(); }
Tensors in_double(at::TensorList tensors) {
  Tensors converted;
  for (const at::Tensor& tensor : tensors) converted.push_back(in_double(tensor));
  return converted;
}
Tensors like(const at::Tensor& x, Tensors results) {
  for (at::Tensor& result : results) result = result.to(x.scalar_type());
  return results;
}

// A matrix of the model at each step.
class Steps {
 public:
  explicit Steps(const at::Tensor& matrix)
      : kept_(in_double(matrix)),
        data_(kept_.const_data_ptr<double>()),
        stride_(matrix.dim() == 3 ? matrix.size(1) * matrix.size(2) : 0) {}

  const double* operator[](int64_t t) const { return data_ + t * stride_; }

 private:
  at::Tensor kept_;
  const double* data_;
  int64_t stride_;
};

// The gradient of a matrix of the model: of each step or of all, summed apart by each task.
class StepGradients {
 public:
  StepGradients(const at::Tensor& matrix, int64_t tasks)
      : sums_(at::zeros({std::max<int64_t>(tasks, 1), matrix.numel()},
                        matrix.options().dtype(at::kDouble))),
        data_(sums_.data_ptr<double>()),
        task_stride_(matrix.numel()),
        stride_(matrix.dim() == 3 ? matrix.size(1) * matrix.size(2) : 0) {}

  template <class M>
  void add(int64_t task, int64_t t, const M& gradient) {
    double* const to = data_ + task * task_stride_ + t * stride_;
    for (int64_t i = 0; i < gradient.size(); ++i) to[i] += gradient.data[i];
  }

  at::Tensor sum(const at::Tensor& matrix) const { return sums_.sum(0).view(matrix.sizes()); }

 private:
  at::Tensor sums_;
  double* data_;
  int64_t task_stride_, stride_;
};

const double* read(const at::Tensor& contiguous) { return contiguous.const_data_ptr<double>(); }
double* write(const at::Tensor& contiguous) { return contiguous.data_ptr<double>(); }

Five kalman_filter(const FilterArguments& a) {
  const Sizes sizes = check_kalman_filter(a);
  const auto [series, steps, n, p] = sizes;
  const auto as_double = a.y.options().dtype(at::kDouble);
  const at::Tensor log_likelihood = at::empty({series}, as_double);
  const at::Tensor mean = at::empty({series, steps, n}, as_double);
  const at::Tensor covariance = at::empty({series, steps, n, n}, as_double);
  const at::Tensor predicted_mean = at::empty_like(mean);
  const at::Tensor predicted_covariance = at::empty_like(covariance);
  const at::Tensor y_ = in_double(a.y), m_0 = in_double(a.initial_mean),
                   P_0 = in_double(a.initial_covariance);
  const at::Tensor c = a.offset ? in_double(*a.offset) : at::Tensor();
  std::atomic<int64_t> singular{steps};  // the first step whose S is
  with_sizes(sizes, [&]<int64_t kN, int64_t kP>(Constant<kN>, Constant<kP>) {
    using Column = Matrix<kN, 1>;
    using States = Matrix<kN, kN>;
    const Steps Phi(a.transition), H(a.observation), Q(a.process_noise), R(a.observation_noise);
    for_series(sizes, [&](int64_t, int64_t begin, int64_t end) {
      Observation<kN, kP> o(n, p);
      Column m(n, 1), m_next(n, 1);
      States P(n, n), Phi_t(n, n), Q_t(n, n), PhiP(n, n);
      for (int64_t i = begin; i < end; ++i) {
        m.load(read(m_0) + i * n);
        P.load_symmetric(read(P_0));
        double total = 0;
        for (int64_t t = 0; t < steps; ++t) {
          const int64_t at = i * steps + t;
          if (t > 0) {
            Phi_t.load(Phi[t]);
            product(m_next, Phi_t, m);
            if (c.defined()) m_next.add(read(c) + at * n);
            std::swap(m.data, m_next.data);
            Q_t.load_symmetric(Q[t]);
            add_congruence(Q_t, Phi_t, P, PhiP);
            Q_t.symmetrize();
            std::swap(P.data, Q_t.data);
          }
          m.store(write(predicted_mean) + at * n);
          P.store(write(predicted_covariance) + at * n * n);
          if (!o.read(read(y_) + at * p, H[t], R[t], m, P)) {
            int64_t first = singular;
            while (t < first && !singular.compare_exchange_weak(first, t)) {
            }
            break;
          }
          total += o.log_likelihood();
          o.update(m, P);
          m.store(write(mean) + at * n);
          P.store(write(covariance) + at * n * n);
        }
        write(log_likelihood)[i] = total;
      }
    });
  });
  TORCH_CHECK_VALUE(singular == steps,
                    "kalman_filter: observation_noise: expected a positive definite covariance of "
                    "the predicted observations, got a singular one at step ",
                    singular.load(), "; increase the variances in R");
  const at::ScalarType type = a.y.scalar_type();
  return {log_likelihood.to(type), mean.to(type), covariance.to(type), predicted_mean.to(type),
          predicted_covariance.to(type)};
}

Tensors kalman_filter_backward(const FilterBackwardArguments& b) {
  const Sizes sizes = check_kalman_filter_backward(b);
  const auto [series, steps, n, p] = sizes;
  const auto as_double = b.y.options().dtype(at::kDouble);
  const at::Tensor grad_y = at::empty(b.y.sizes(), as_double);
  const at::Tensor grad_m0 = at::empty(b.initial_mean.sizes(), as_double);
  const at::Tensor grad_c =
      b.offset ? at::zeros(b.offset->sizes(), as_double) : at::empty({0}, as_double);
  const int64_t tasks = std::min(series, kTasks);
  StepGradients grad_Phi(b.transition, tasks), grad_H(b.observation, tasks),
      grad_Q(b.process_noise, tasks), grad_R(b.observation_noise, tasks),
      grad_P0(b.initial_covariance, tasks);
  const at::Tensor y_ = in_double(b.y), mean_ = in_double(b.mean),
                   covariance_ = in_double(b.covariance),
                   predicted_mean_ = in_double(b.predicted_mean),
                   predicted_covariance_ = in_double(b.predicted_covariance);
  const Tensors given = in_double(b.grads);
  with_sizes(sizes, [&]<int64_t kN, int64_t kP>(Constant<kN>, Constant<kP>) {
    using Column = Matrix<kN, 1>;
    using States = Matrix<kN, kN>;
    const Steps Phi(b.transition), H(b.observation), R(b.observation_noise);
    for_series(sizes, [&](int64_t task, int64_t begin, int64_t end) {
      Observation<kN, kP> o(n, p);
      ObservationGradient<kN, kP> gradient(n, p);
      Column m(n, 1), g(n, 1), g_next(n, 1);
      States P(n, n), G(n, n), Phi_t(n, n), work(n, n), more(n, n);
      for (int64_t i = begin; i < end; ++i) {
        const double grad_log_likelihood = read(given[0])[i];
        for (int64_t t = steps; t-- > 0;) {
          const int64_t at = i * steps + t;
          // g and G are the gradients of the next predicted state; now of this filtered one.
          if (t + 1 < steps) {
            m.load(read(mean_) + at * n);
            P.load_symmetric(read(covariance_) + at * n * n);
            Phi_t.load(Phi[t + 1]);
            grad_Q.add(task, t + 1, G);
            if (b.offset) g.store(write(grad_c) + (at + 1) * n);
            product(work, G, Phi_t);
            product(more, work, P);
            more.add(more);
            add_product_nt(more, g, m);
            grad_Phi.add(task, t + 1, more);
            product_tn(g_next, Phi_t, g);
            std::swap(g.data, g_next.data);
            product_tn(G, Phi_t, work);
          } else {
            g.fill(0);
            G.fill(0);
          }
          g.add(read(given[1]) + at * n);
          G.add(read(given[2]) + at * n * n);
          G.symmetrize();

          m.load(read(predicted_mean_) + at * n);
          P.load_symmetric(read(predicted_covariance_) + at * n * n);
          o.read(read(y_) + at * p, H[t], R[t], m, P);
          gradient.pass(o, m, P, grad_log_likelihood, g, G);
          gradient.y.store(write(grad_y) + at * p);
          grad_H.add(task, t, gradient.H);
          grad_R.add(task, t, gradient.R);
          g.add(read(given[3]) + at * n);
          G.add(read(given[4]) + at * n * n);
          G.symmetrize();
        }
        g.store(write(grad_m0) + i * n);
        grad_P0.add(task, 0, G);
      }
    });
  });
  return like(b.y, {grad_y, grad_c, grad_Phi.sum(b.transition), grad_H.sum(b.observation),
                    grad_Q.sum(b.process_noise), grad_R.sum(b.observation_noise), grad_m0,
                    grad_P0.sum(b.initial_covariance)});
}

Three kalman_smoother(const SmootherArguments& a) {
  const Sizes sizes = check_kalman_smoother(a);
  const auto [series, steps, n, p] = sizes;
  const auto as_double = a.mean.options().dtype(at::kDouble);
  const at::Tensor smoothed_mean = at::empty(a.mean.sizes(), as_double);
  const at::Tensor smoothed_covariance = at::empty(a.covariance.sizes(), as_double);
  const at::Tensor lag = at::empty({series, steps - 1, n, n}, as_double);
  const at::Tensor mean_ = in_double(a.mean), covariance_ = in_double(a.covariance),
                   predicted_mean_ = in_double(a.predicted_mean),
                   predicted_covariance_ = in_double(a.predicted_covariance);
  with_states(sizes, [&]<int64_t kN>(Constant<kN>) {
    using Column = Matrix<kN, 1>;
    using States = Matrix<kN, kN>;
    const Steps Phi(a.transition), Q(a.process_noise);
    const double rounding = a.mean.scalar_type() == at::kDouble ? kDoubleRounding : kFloatRounding;
    for_series(sizes, [&](int64_t, int64_t begin, int64_t end) {
      SmootherStep<kN> step(n);
      Column s(n, 1), corrected(n, 1);
      States V(n, n), C(n, n);
      for (int64_t i = begin; i < end; ++i)
        for (int64_t t = steps; t-- > 0;) {
          const int64_t at = i * steps + t;
          if (t + 1 == steps) {
            s.load(read(mean_) + at * n);
            V.load_symmetric(read(covariance_) + at * n * n);
          } else {
            step.read(Phi[t + 1], Q[t + 1], read(covariance_) + at * n * n,
                      read(predicted_covariance_) + (at + 1) * n * n, rounding);
            step.covariance(V, C);
            C.store(write(lag) + (at - i) * n * n);
            s.add(read(predicted_mean_) + (at + 1) * n, -1);
            corrected.load(read(mean_) + at * n);
            add_product(corrected, step.J, s);
            std::swap(s.data, corrected.data);
          }
          s.store(write(smoothed_mean) + at * n);
          V.store(write(smoothed_covariance) + at * n * n);
        }
    });
  });
  const at::ScalarType type = a.mean.scalar_type();
  return {smoothed_mean.to(type), smoothed_covariance.to(type), lag.to(type)};
}

Tensors kalman_smoother_backward(const SmootherBackwardArguments& b) {
  const Sizes sizes = check_kalman_smoother_backward(b);
  const auto [series, steps, n, p] = sizes;
  const auto as_double = b.mean.options().dtype(at::kDouble);
  const at::Tensor grad_m = at::empty(b.mean.sizes(), as_double);
  const at::Tensor grad_P = at::empty(b.covariance.sizes(), as_double);
  const at::Tensor grad_predicted_m = at::zeros(b.mean.sizes(), as_double);
  const at::Tensor grad_predicted_P = at::zeros(b.covariance.sizes(), as_double);
  const int64_t tasks = std::min(series, kTasks);
  StepGradients grad_Phi(b.transition, tasks), grad_Q(b.process_noise, tasks);
  const at::Tensor covariance_ = in_double(b.covariance),
                   predicted_mean_ = in_double(b.predicted_mean),
                   predicted_covariance_ = in_double(b.predicted_covariance),
                   smoothed_mean_ = in_double(b.smoothed_mean),
                   smoothed_covariance_ = in_double(b.smoothed_covariance);
  const Tensors given = in_double(b.grads);
  with_states(sizes, [&]<int64_t kN>(Constant<kN>) {
    using Column = Matrix<kN, 1>;
    using States = Matrix<kN, kN>;
    const Steps Phi(b.transition), Q(b.process_noise);
    const double rounding = b.mean.scalar_type() == at::kDouble ? kDoubleRounding : kFloatRounding;
    for_series(sizes, [&](int64_t task, int64_t begin, int64_t end) {
      SmootherStep<kN> step(n);
      SmootherGradient<kN> gradient(n);
      Column s(n, 1), predicted(n, 1), gs(n, 1);
      States V(n, n), gV(n, n), gC(n, n);
      for (int64_t i = begin; i < end; ++i) {
        gs.fill(0);
        gV.fill(0);
        for (int64_t t = 0; t < steps; ++t) {
          const int64_t at = i * steps + t;
          gs.add(read(given[0]) + at * n);
          gV.add(read(given[1]) + at * n * n);
          gV.symmetrize();
          gs.store(write(grad_m) + at * n);
          if (t + 1 == steps) {
            gV.store(write(grad_P) + at * n * n);
            break;
          }
          step.read(Phi[t + 1], Q[t + 1], read(covariance_) + at * n * n,
                    read(predicted_covariance_) + (at + 1) * n * n, rounding);
          s.load(read(smoothed_mean_) + (at + 1) * n);
          V.load_symmetric(read(smoothed_covariance_) + (at + 1) * n * n);
          predicted.load(read(predicted_mean_) + (at + 1) * n);
          gC.load(read(given[2]) + (at - i) * n * n);
          gradient.pass(step, s, V, predicted, gC, gs, gV);
          grad_Phi.add(task, t + 1, gradient.Phi);
          grad_Q.add(task, t + 1, gradient.Q);
          gradient.P.store(write(grad_P) + at * n * n);
          gradient.predicted_mean.store(write(grad_predicted_m) + (at + 1) * n);
          gradient.predicted_covariance.store(write(grad_predicted_P) + (at + 1) * n * n);
        }
      }
    });
  });
  return like(b.mean, {grad_Phi.sum(b.transition), grad_Q.sum(b.process_noise), grad_m, grad_P,
                       grad_predicted_m, grad_predicted_P});
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("kalman_filter", FlatOp<kalman_filter, FilterSignature<Five>>::call);
  m.impl("kalman_filter_backward",
         FlatOp<kalman_filter_backward, FilterBackwardSignature<Tensors>>::call);
  m.impl("kalman_smoother", FlatOp<kalman_smoother, SmootherSignature<Three>>::call);
  m.impl("kalman_smoother_backward",
         FlatOp<kalman_smoother_backward, SmootherBackwardSignature<Tensors>>::call);
}

}  // namespace pyneural::kalman
