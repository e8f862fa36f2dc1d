// What the Kalman ops ask of their arguments before memory is touched.
#pragma once

#include <optional>

#include "../common/checks.h"

namespace pyneural::kalman {

using OptionalTensor = std::optional<at::Tensor>;

// Series, steps, states and observations.
struct Sizes {
  int64_t series, steps, n, p;
};

// The arguments of the filter; a matrix for each step has a leading dimension [T].
struct Arguments {
  const at::Tensor& y;
  const OptionalTensor& offset;
  const at::Tensor& transition;
  const at::Tensor& observation;
  const at::Tensor& process_noise;
  const at::Tensor& observation_noise;
  const at::Tensor& initial_mean;
  const at::Tensor& initial_covariance;
};

namespace detail {

// A matrix of the model, the same at all steps or one for each.
inline void check_matrix(const Argument& argument, const at::Tensor& matrix, int64_t steps,
                         int64_t rows, int64_t columns, const Like& like) {
  const char* const remedy =
      "it has this shape, or a leading dimension with a matrix for each step";
  if (matrix.dim() == 3)
    check_like(argument, matrix, {steps, rows, columns}, like, remedy);
  else
    check_like(argument, matrix, {rows, columns}, like, remedy);
}

inline Sizes check_states(const char* op, const char* name, const at::Tensor& mean) {
  check_dtype({op, name}, mean, Precisions::full, "convert it with .double()");
  TORCH_CHECK_VALUE(mean.dim() == 3 && mean.size(1) > 0 && mean.size(2) > 0, op, ": ", name,
                    ": expected shape [N, T, n] with T and n at least 1, got ", mean.sizes(),
                    "; a single series is y[None]");
  return {mean.size(0), mean.size(1), mean.size(2), 0};
}

// Means [N, T, n] and covariances [N, T, n, n].
inline void check_moments(const char* op, const char* mean_name, const at::Tensor& mean,
                          const char* covariance_name, const at::Tensor& covariance,
                          const Sizes& sizes, const Like& like) {
  const auto [series, steps, n, p] = sizes;
  const char* const remedy = "give it as kalman_filter returns it";
  check_like({op, mean_name}, mean, {series, steps, n}, like, remedy);
  check_like({op, covariance_name}, covariance, {series, steps, n, n}, like, remedy);
}

inline void check_count(const char* op, at::TensorList grads, size_t expected) {
  TORCH_CHECK_VALUE(grads.size() == expected, op, ": grads: expected ", expected, " tensors, got ",
                    grads.size(), "; give one for each output");
}

}  // namespace detail

inline Sizes check_filter(const char* op, const Arguments& a) {
  Sizes sizes = detail::check_states(op, "y", a.y);
  std::swap(sizes.n, sizes.p);
  TORCH_CHECK_VALUE(a.transition.dim() >= 2 && a.transition.size(-1) > 0, op,
                    ": transition: expected shape [n, n] or [T, n, n], got ", a.transition.sizes(),
                    "; a single state is a matrix [1, 1]");
  sizes.n = a.transition.size(-1);
  const auto [series, steps, n, p] = sizes;
  const Like like{"y", a.y};
  if (a.offset)
    check_like({op, "offset"}, *a.offset, {series, steps, n}, like, "give an offset of each state");
  detail::check_matrix({op, "transition"}, a.transition, steps, n, n, like);
  detail::check_matrix({op, "observation"}, a.observation, steps, p, n, like);
  detail::check_matrix({op, "process_noise"}, a.process_noise, steps, n, n, like);
  detail::check_matrix({op, "observation_noise"}, a.observation_noise, steps, p, p, like);
  check_like({op, "initial_mean"}, a.initial_mean, {series, n}, like, "give one of each series");
  check_like({op, "initial_covariance"}, a.initial_covariance, {n, n}, like,
             "it is that of all series");
  return sizes;
}

inline Sizes check_kalman_filter(const at::Tensor& y, const OptionalTensor& offset,
                                 const at::Tensor& transition, const at::Tensor& observation,
                                 const at::Tensor& process_noise,
                                 const at::Tensor& observation_noise,
                                 const at::Tensor& initial_mean,
                                 const at::Tensor& initial_covariance) {
  return check_filter("kalman_filter", {y, offset, transition, observation, process_noise,
                                        observation_noise, initial_mean, initial_covariance});
}

inline Sizes check_kalman_filter_backward(
    at::TensorList grads, const at::Tensor& y, const OptionalTensor& offset,
    const at::Tensor& transition, const at::Tensor& observation, const at::Tensor& process_noise,
    const at::Tensor& observation_noise, const at::Tensor& initial_mean,
    const at::Tensor& initial_covariance, const at::Tensor& mean, const at::Tensor& covariance,
    const at::Tensor& predicted_mean, const at::Tensor& predicted_covariance) {
  const char* const op = "kalman_filter_backward";
  const Sizes sizes = check_filter(op, {y, offset, transition, observation, process_noise,
                                        observation_noise, initial_mean, initial_covariance});
  const Like like{"y", y};
  detail::check_moments(op, "mean", mean, "covariance", covariance, sizes, like);
  detail::check_moments(op, "predicted_mean", predicted_mean, "predicted_covariance",
                        predicted_covariance, sizes, like);
  detail::check_count(op, grads, 5);
  check_like({op, "grads", 0}, grads[0], {sizes.series}, like, "that of the log-likelihood");
  detail::check_moments(op, "grads[1]", grads[1], "grads[2]", grads[2], sizes, like);
  detail::check_moments(op, "grads[3]", grads[3], "grads[4]", grads[4], sizes, like);
  return sizes;
}

namespace detail {

inline Sizes check_smoother(const char* op, const at::Tensor& transition,
                            const at::Tensor& process_noise, const at::Tensor& mean,
                            const at::Tensor& covariance, const at::Tensor& predicted_mean,
                            const at::Tensor& predicted_covariance) {
  const Sizes sizes = check_states(op, "mean", mean);
  const Like like{"mean", mean};
  check_matrix({op, "transition"}, transition, sizes.steps, sizes.n, sizes.n, like);
  check_matrix({op, "process_noise"}, process_noise, sizes.steps, sizes.n, sizes.n, like);
  check_moments(op, "mean", mean, "covariance", covariance, sizes, like);
  check_moments(op, "predicted_mean", predicted_mean, "predicted_covariance", predicted_covariance,
                sizes, like);
  return sizes;
}

}  // namespace detail

inline Sizes check_kalman_smoother(const at::Tensor& transition, const at::Tensor& process_noise,
                                   const at::Tensor& mean, const at::Tensor& covariance,
                                   const at::Tensor& predicted_mean,
                                   const at::Tensor& predicted_covariance) {
  return detail::check_smoother("kalman_smoother", transition, process_noise, mean, covariance,
                                predicted_mean, predicted_covariance);
}

inline Sizes check_kalman_smoother_backward(at::TensorList grads, const at::Tensor& transition,
                                            const at::Tensor& process_noise, const at::Tensor& mean,
                                            const at::Tensor& covariance,
                                            const at::Tensor& predicted_mean,
                                            const at::Tensor& predicted_covariance,
                                            const at::Tensor& smoothed_mean,
                                            const at::Tensor& smoothed_covariance) {
  const char* const op = "kalman_smoother_backward";
  const Sizes sizes = detail::check_smoother(op, transition, process_noise, mean, covariance,
                                             predicted_mean, predicted_covariance);
  const Like like{"mean", mean};
  detail::check_moments(op, "smoothed_mean", smoothed_mean, "smoothed_covariance",
                        smoothed_covariance, sizes, like);
  detail::check_count(op, grads, 3);
  detail::check_moments(op, "grads[0]", grads[0], "grads[1]", grads[1], sizes, like);
  check_like({op, "grads", 2}, grads[2], {sizes.series, sizes.steps - 1, sizes.n, sizes.n}, like,
             "that of the covariance of neighbours in time");
  return sizes;
}

}  // namespace pyneural::kalman
