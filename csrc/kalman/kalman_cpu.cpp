// Kalman filter and smoother on the CPU, step by step, and their gradients backwards in time: a few
// hundred operations a step, where plain torch calls thirty functions. All sums are in double
// precision. The series of a batch are shared out over the threads.
//
// There is no CUDA kernel: one series is a chain of tiny products, for which a GPU is slow.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <atomic>
#include <vector>

#include "../common/dispatch.h"
#include "../common/parallel.h"
#include "filter.h"
#include "kalman_check.h"
#include "smoother.h"

namespace pyneural::kalman {
namespace {

// Series that one task takes; sums over them are the same with any number of threads.
constexpr int64_t kTasks = 8;

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

// A matrix of the model at each step.
template <class T>
class Steps {
 public:
  explicit Steps(const at::Tensor& matrix)
      : kept_(matrix.contiguous()),
        data_(kept_.const_data_ptr<T>()),
        stride_(matrix.dim() == 3 ? matrix.size(1) * matrix.size(2) : 0) {}

  const T* operator[](int64_t t) const { return data_ + t * stride_; }

 private:
  at::Tensor kept_;
  const T* data_;
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

  void add(int64_t task, int64_t t, const Matrix& gradient) {
    double* const to = data_ + task * task_stride_ + t * stride_;
    for (size_t i = 0; i < gradient.data.size(); ++i) to[i] += gradient.data[i];
  }

  at::Tensor sum(const at::Tensor& matrix) const {
    return sums_.sum(0).to(matrix.scalar_type()).view(matrix.sizes());
  }

 private:
  at::Tensor sums_;
  double* data_;
  int64_t task_stride_, stride_;
};

template <class T>
const T* read(const at::Tensor& contiguous) {
  return contiguous.const_data_ptr<T>();
}

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Five kalman_filter(const at::Tensor& y, const OptionalTensor& offset, const at::Tensor& transition,
                   const at::Tensor& observation, const at::Tensor& process_noise,
                   const at::Tensor& observation_noise, const at::Tensor& initial_mean,
                   const at::Tensor& initial_covariance) {
  const Sizes sizes = check_kalman_filter(y, offset, transition, observation, process_noise,
                                          observation_noise, initial_mean, initial_covariance);
  const auto [series, steps, n, p] = sizes;
  const at::Tensor log_likelihood = at::empty({series}, y.options());
  const at::Tensor mean = at::empty({series, steps, n}, y.options());
  const at::Tensor covariance = at::empty({series, steps, n, n}, y.options());
  const at::Tensor predicted_mean = at::empty_like(mean);
  const at::Tensor predicted_covariance = at::empty_like(covariance);
  const at::Tensor y_ = y.contiguous(), m_0 = initial_mean.contiguous(),
                   P_0 = initial_covariance.contiguous();
  const at::Tensor c = offset ? offset->contiguous() : at::Tensor();
  std::atomic<int64_t> singular{steps};  // the first step whose S is
  dispatch_floating(y, [&](auto type) {
    using T = decltype(type);
    const Steps<T> Phi(transition), H(observation), Q(process_noise), R(observation_noise);
    for_series(sizes, [&](int64_t, int64_t begin, int64_t end) {
      Observation o(n, p);
      Matrix m(n, 1), P(n, n), Phi_t(n, n), Q_t(n, n), m_next(n, 1), PhiP(n, n);
      for (int64_t i = begin; i < end; ++i) {
        m.load(read<T>(m_0) + i * n);
        P.load_symmetric(read<T>(P_0));
        double total = 0;
        for (int64_t t = 0; t < steps; ++t) {
          const int64_t at = i * steps + t;
          if (t > 0) {
            Phi_t.load(Phi[t]);
            product(m_next, Phi_t, m);
            if (c.defined()) m_next.add(read<T>(c) + at * n);
            std::swap(m.data, m_next.data);
            Q_t.load_symmetric(Q[t]);
            add_congruence(Q_t, Phi_t, P, PhiP);
            Q_t.symmetrize();
            std::swap(P.data, Q_t.data);
          }
          m.store(predicted_mean.data_ptr<T>() + at * n);
          P.store(predicted_covariance.data_ptr<T>() + at * n * n);
          if (!o.read(read<T>(y_) + at * p, H[t], R[t], m, P)) {
            for (int64_t first = singular; t < first && !singular.compare_exchange_weak(first, t););
            break;
          }
          total += o.log_likelihood();
          o.update(m, P);
          m.store(mean.data_ptr<T>() + at * n);
          P.store(covariance.data_ptr<T>() + at * n * n);
        }
        log_likelihood.data_ptr<T>()[i] = static_cast<T>(total);
      }
    });
  });
  TORCH_CHECK_VALUE(singular == steps,
                    "kalman_filter: observation_noise: expected a positive definite covariance of "
                    "the predicted observations, got a singular one at step ",
                    singular.load(), "; increase the variances in R");
  return {log_likelihood, mean, covariance, predicted_mean, predicted_covariance};
}

std::vector<at::Tensor> kalman_filter_backward(
    at::TensorList grads, const at::Tensor& y, const OptionalTensor& offset,
    const at::Tensor& transition, const at::Tensor& observation, const at::Tensor& process_noise,
    const at::Tensor& observation_noise, const at::Tensor& initial_mean,
    const at::Tensor& initial_covariance, const at::Tensor& mean, const at::Tensor& covariance,
    const at::Tensor& predicted_mean, const at::Tensor& predicted_covariance) {
  const Sizes sizes = check_kalman_filter_backward(
      grads, y, offset, transition, observation, process_noise, observation_noise, initial_mean,
      initial_covariance, mean, covariance, predicted_mean, predicted_covariance);
  const auto [series, steps, n, p] = sizes;
  const at::Tensor grad_y = at::empty(y.sizes(), y.options());
  const at::Tensor grad_m0 = at::empty(initial_mean.sizes(), y.options());
  const at::Tensor grad_c =
      offset ? at::zeros(offset->sizes(), y.options()) : at::empty({0}, y.options());
  const int64_t tasks = std::min(series, kTasks);
  StepGradients grad_Phi(transition, tasks), grad_H(observation, tasks),
      grad_Q(process_noise, tasks), grad_R(observation_noise, tasks),
      grad_P0(initial_covariance, tasks);
  const at::Tensor y_ = y.contiguous(), mean_ = mean.contiguous(),
                   covariance_ = covariance.contiguous(),
                   predicted_mean_ = predicted_mean.contiguous(),
                   predicted_covariance_ = predicted_covariance.contiguous();
  std::vector<at::Tensor> given;
  for (const at::Tensor& grad : grads) given.push_back(grad.contiguous());
  dispatch_floating(y, [&](auto type) {
    using T = decltype(type);
    const Steps<T> Phi(transition), H(observation), R(observation_noise);
    for_series(sizes, [&](int64_t task, int64_t begin, int64_t end) {
      Observation o(n, p);
      ObservationGradient gradient(n, p);
      Matrix m(n, 1), P(n, n), g(n, 1), G(n, n), Phi_t(n, n), work(n, n), more(n, n), g_next(n, 1);
      for (int64_t i = begin; i < end; ++i) {
        const double grad_log_likelihood = read<T>(given[0])[i];
        for (int64_t t = steps; t-- > 0;) {
          const int64_t at = i * steps + t;
          // g and G are the gradients of the next predicted state; now of this filtered one.
          if (t + 1 < steps) {
            m.load(read<T>(mean_) + at * n);
            P.load_symmetric(read<T>(covariance_) + at * n * n);
            Phi_t.load(Phi[t + 1]);
            grad_Q.add(task, t + 1, G);
            if (offset) g.store(grad_c.template data_ptr<T>() + (at + 1) * n);
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
          g.add(read<T>(given[1]) + at * n);
          G.add(read<T>(given[2]) + at * n * n);
          G.symmetrize();

          m.load(read<T>(predicted_mean_) + at * n);
          P.load_symmetric(read<T>(predicted_covariance_) + at * n * n);
          o.read(read<T>(y_) + at * p, H[t], R[t], m, P);
          gradient.pass(o, m, P, grad_log_likelihood, g, G);
          gradient.y.store(grad_y.template data_ptr<T>() + at * p);
          grad_H.add(task, t, gradient.H);
          grad_R.add(task, t, gradient.R);
          g.add(read<T>(given[3]) + at * n);
          G.add(read<T>(given[4]) + at * n * n);
          G.symmetrize();
        }
        g.store(grad_m0.template data_ptr<T>() + i * n);
        grad_P0.add(task, 0, G);
      }
    });
  });
  return {grad_y,
          grad_c,
          grad_Phi.sum(transition),
          grad_H.sum(observation),
          grad_Q.sum(process_noise),
          grad_R.sum(observation_noise),
          grad_m0,
          grad_P0.sum(initial_covariance)};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> kalman_smoother(
    const at::Tensor& transition, const at::Tensor& process_noise, const at::Tensor& mean,
    const at::Tensor& covariance, const at::Tensor& predicted_mean,
    const at::Tensor& predicted_covariance) {
  const Sizes sizes = check_kalman_smoother(transition, process_noise, mean, covariance,
                                            predicted_mean, predicted_covariance);
  const auto [series, steps, n, p] = sizes;
  const at::Tensor smoothed_mean = at::empty(mean.sizes(), mean.options());
  const at::Tensor smoothed_covariance = at::empty(covariance.sizes(), mean.options());
  const at::Tensor lag = at::empty({series, steps - 1, n, n}, mean.options());
  const at::Tensor mean_ = mean.contiguous(), covariance_ = covariance.contiguous(),
                   predicted_mean_ = predicted_mean.contiguous(),
                   predicted_covariance_ = predicted_covariance.contiguous();
  dispatch_floating(mean, [&](auto type) {
    using T = decltype(type);
    const Steps<T> Phi(transition), Q(process_noise);
    for_series(sizes, [&](int64_t, int64_t begin, int64_t end) {
      SmootherStep step(n);
      Matrix s(n, 1), V(n, n), C(n, n), corrected(n, 1);
      for (int64_t i = begin; i < end; ++i)
        for (int64_t t = steps; t-- > 0;) {
          const int64_t at = i * steps + t;
          if (t + 1 == steps) {
            s.load(read<T>(mean_) + at * n);
            V.load_symmetric(read<T>(covariance_) + at * n * n);
          } else {
            step.read(Phi[t + 1], Q[t + 1], read<T>(covariance_) + at * n * n,
                      read<T>(predicted_covariance_) + (at + 1) * n * n);
            step.covariance(V, C);
            C.store(lag.data_ptr<T>() + (at - i) * n * n);
            s.add(read<T>(predicted_mean_) + (at + 1) * n, -1);
            corrected.load(read<T>(mean_) + at * n);
            add_product(corrected, step.J, s);
            std::swap(s.data, corrected.data);
          }
          s.store(smoothed_mean.data_ptr<T>() + at * n);
          V.store(smoothed_covariance.data_ptr<T>() + at * n * n);
        }
    });
  });
  return {smoothed_mean, smoothed_covariance, lag};
}

std::vector<at::Tensor> kalman_smoother_backward(
    at::TensorList grads, const at::Tensor& transition, const at::Tensor& process_noise,
    const at::Tensor& mean, const at::Tensor& covariance, const at::Tensor& predicted_mean,
    const at::Tensor& predicted_covariance, const at::Tensor& smoothed_mean,
    const at::Tensor& smoothed_covariance) {
  const Sizes sizes = check_kalman_smoother_backward(
      grads, transition, process_noise, mean, covariance, predicted_mean, predicted_covariance,
      smoothed_mean, smoothed_covariance);
  const auto [series, steps, n, p] = sizes;
  const at::Tensor grad_m = at::empty(mean.sizes(), mean.options());
  const at::Tensor grad_P = at::empty(covariance.sizes(), mean.options());
  const at::Tensor grad_predicted_m = at::zeros(mean.sizes(), mean.options());
  const at::Tensor grad_predicted_P = at::zeros(covariance.sizes(), mean.options());
  const int64_t tasks = std::min(series, kTasks);
  StepGradients grad_Phi(transition, tasks), grad_Q(process_noise, tasks);
  const at::Tensor covariance_ = covariance.contiguous(),
                   predicted_mean_ = predicted_mean.contiguous(),
                   predicted_covariance_ = predicted_covariance.contiguous(),
                   smoothed_mean_ = smoothed_mean.contiguous(),
                   smoothed_covariance_ = smoothed_covariance.contiguous();
  std::vector<at::Tensor> given;
  for (const at::Tensor& grad : grads) given.push_back(grad.contiguous());
  dispatch_floating(mean, [&](auto type) {
    using T = decltype(type);
    const Steps<T> Phi(transition), Q(process_noise);
    for_series(sizes, [&](int64_t task, int64_t begin, int64_t end) {
      SmootherStep step(n);
      SmootherGradient gradient(n);
      Matrix s(n, 1), V(n, n), predicted(n, 1), gs(n, 1), gV(n, n), gC(n, n);
      for (int64_t i = begin; i < end; ++i) {
        gs.fill(0);
        gV.fill(0);
        for (int64_t t = 0; t < steps; ++t) {
          const int64_t at = i * steps + t;
          gs.add(read<T>(given[0]) + at * n);
          gV.add(read<T>(given[1]) + at * n * n);
          gV.symmetrize();
          gs.store(grad_m.template data_ptr<T>() + at * n);
          if (t + 1 == steps) {
            gV.store(grad_P.template data_ptr<T>() + at * n * n);
            break;
          }
          step.read(Phi[t + 1], Q[t + 1], read<T>(covariance_) + at * n * n,
                    read<T>(predicted_covariance_) + (at + 1) * n * n);
          s.load(read<T>(smoothed_mean_) + (at + 1) * n);
          V.load_symmetric(read<T>(smoothed_covariance_) + (at + 1) * n * n);
          predicted.load(read<T>(predicted_mean_) + (at + 1) * n);
          gC.load(read<T>(given[2]) + (at - i) * n * n);
          gradient.pass(step, s, V, predicted, gC, gs, gV);
          grad_Phi.add(task, t + 1, gradient.Phi);
          grad_Q.add(task, t + 1, gradient.Q);
          gradient.P.store(grad_P.template data_ptr<T>() + at * n * n);
          gradient.predicted_mean.store(grad_predicted_m.template data_ptr<T>() + (at + 1) * n);
          gradient.predicted_covariance.store(grad_predicted_P.template data_ptr<T>() +
                                              (at + 1) * n * n);
        }
      }
    });
  });
  return {grad_Phi.sum(transition), grad_Q.sum(process_noise), grad_m, grad_P,
          grad_predicted_m,         grad_predicted_P};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("kalman_filter", kalman_filter);
  m.impl("kalman_filter_backward", kalman_filter_backward);
  m.impl("kalman_smoother", kalman_smoother);
  m.impl("kalman_smoother_backward", kalman_smoother_backward);
}

}  // namespace pyneural::kalman
