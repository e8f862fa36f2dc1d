// What the Kalman ops ask of their arguments before memory is touched.
#pragma once

#include "../common/checks.h"

namespace pyneural::kalman {

// N series of T steps with n states and p observations.
struct Sizes {
  int64_t series = 0, steps = 0, n = 0, p = 0;
};

using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Tensors = std::vector<at::Tensor>;

template <class Result>
using FilterSignature = Result(const at::Tensor&, const OptionalTensor&, const at::Tensor&,
                               const at::Tensor&, const at::Tensor&, const at::Tensor&,
                               const at::Tensor&, const at::Tensor&);
template <class Result>
using FilterBackwardSignature = Result(at::TensorList, const at::Tensor&, const OptionalTensor&,
                                       const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                       const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                       const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                       const at::Tensor&);
template <class Result>
using SmootherSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const at::Tensor&, const at::Tensor&, const at::Tensor&);
template <class Result>
using SmootherBackwardSignature = Result(at::TensorList, const at::Tensor&, const at::Tensor&,
                                         const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                         const at::Tensor&, const at::Tensor&, const at::Tensor&);

// The matrices of the model are the same at all steps, or have a leading dimension [T].
struct FilterArguments {
  const at::Tensor& y;           // [N, T, p]
  const OptionalTensor& offset;  // [N, T, n]
  const at::Tensor &transition, &observation, &process_noise, &observation_noise;
  const at::Tensor &initial_mean, &initial_covariance;  // [N, n], [n, n]
};
// grads: those of the five results, of which the last four are given.
struct FilterBackwardArguments {
  at::TensorList grads;
  const at::Tensor& y;
  const OptionalTensor& offset;
  const at::Tensor &transition, &observation, &process_noise, &observation_noise;
  const at::Tensor &initial_mean, &initial_covariance;
  const at::Tensor &mean, &covariance, &predicted_mean, &predicted_covariance;

  FilterArguments forward() const {
    return {y,
            offset,
            transition,
            observation,
            process_noise,
            observation_noise,
            initial_mean,
            initial_covariance};
  }
};
// Means [N, T, n] and covariances [N, T, n, n], as the filter gives them.
struct SmootherArguments {
  const at::Tensor &transition, &process_noise;
  const at::Tensor &mean, &covariance, &predicted_mean, &predicted_covariance;
};
// grads: those of the three results, of which the first two are given.
struct SmootherBackwardArguments {
  at::TensorList grads;
  const at::Tensor &transition, &process_noise;
  const at::Tensor &mean, &covariance, &predicted_mean, &predicted_covariance;
  const at::Tensor &smoothed_mean, &smoothed_covariance;

  SmootherArguments forward() const {
    return {transition, process_noise, mean, covariance, predicted_mean, predicted_covariance};
  }
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

// x [N, T, columns].
inline void check_series(const Argument& argument, const at::Tensor& x) {
  check_dtype(argument, x, Precisions::full, "convert it with .double()");
  TORCH_CHECK_VALUE(x.dim() == 3 && x.size(1) > 0 && x.size(2) > 0, argument, ": expected shape ",
                    argument.letters, " with at least one step and column, got ", x.sizes(),
                    "; a single series is x[None]");
}

inline void check_moments(const char* op, const char* mean_name, const at::Tensor& mean,
                          const char* covariance_name, const at::Tensor& covariance,
                          const Sizes& sizes, const Like& like) {
  const auto [series, steps, n, p] = sizes;
  const char* const remedy = "give it as the op returns it";
  check_like({op, mean_name}, mean, {series, steps, n}, like, remedy);
  check_like({op, covariance_name}, covariance, {series, steps, n, n}, like, remedy);
}

inline void check_count(const char* op, at::TensorList grads, size_t expected) {
  TORCH_CHECK_VALUE(grads.size() == expected, op, ": grads: expected ", expected, " tensors, got ",
                    grads.size(), "; give one for each output");
}

inline Sizes check_filter(const char* op, const FilterArguments& a) {
  check_series({op, "y", -1, "[N, T, p]"}, a.y);
  TORCH_CHECK_VALUE(a.transition.dim() >= 2 && a.transition.size(-1) > 0, op,
                    ": transition: expected shape [n, n] or [T, n, n], got ", a.transition.sizes(),
                    "; a single state has a matrix [1, 1]");
  const Sizes sizes{a.y.size(0), a.y.size(1), a.transition.size(-1), a.y.size(2)};
  const auto [series, steps, n, p] = sizes;
  const Like like{"y", a.y};
  if (a.offset)
    check_like({op, "offset"}, *a.offset, {series, steps, n}, like, "give an offset of each state");
  check_matrix({op, "transition"}, a.transition, steps, n, n, like);
  check_matrix({op, "observation"}, a.observation, steps, p, n, like);
  check_matrix({op, "process_noise"}, a.process_noise, steps, n, n, like);
  check_matrix({op, "observation_noise"}, a.observation_noise, steps, p, p, like);
  check_like({op, "initial_mean"}, a.initial_mean, {series, n}, like, "give one of each series");
  check_like({op, "initial_covariance"}, a.initial_covariance, {n, n}, like,
             "it is that of all series");
  return sizes;
}

inline Sizes check_smoother(const char* op, const SmootherArguments& a) {
  check_series({op, "mean", -1, "[N, T, n]"}, a.mean);
  const Sizes sizes{a.mean.size(0), a.mean.size(1), a.mean.size(2), 0};
  const Like like{"mean", a.mean};
  check_matrix({op, "transition"}, a.transition, sizes.steps, sizes.n, sizes.n, like);
  check_matrix({op, "process_noise"}, a.process_noise, sizes.steps, sizes.n, sizes.n, like);
  check_moments(op, "mean", a.mean, "covariance", a.covariance, sizes, like);
  check_moments(op, "predicted_mean", a.predicted_mean, "predicted_covariance",
                a.predicted_covariance, sizes, like);
  return sizes;
}

}  // namespace detail

inline Sizes check_kalman_filter(const FilterArguments& a) {
  return detail::check_filter("kalman_filter", a);
}

inline Sizes check_kalman_filter_backward(const FilterBackwardArguments& b) {
  const char* const op = "kalman_filter_backward";
  const Sizes sizes = detail::check_filter(op, b.forward());
  const Like like{"y", b.y};
  detail::check_moments(op, "mean", b.mean, "covariance", b.covariance, sizes, like);
  detail::check_moments(op, "predicted_mean", b.predicted_mean, "predicted_covariance",
                        b.predicted_covariance, sizes, like);
  detail::check_count(op, b.grads, 5);
  check_like({op, "grads", 0}, b.grads[0], {sizes.series}, like, "that of the log-likelihood");
  detail::check_moments(op, "grads[1]", b.grads[1], "grads[2]", b.grads[2], sizes, like);
  detail::check_moments(op, "grads[3]", b.grads[3], "grads[4]", b.grads[4], sizes, like);
  return sizes;
}

inline Sizes check_kalman_smoother(const SmootherArguments& a) {
  return detail::check_smoother("kalman_smoother", a);
}

inline Sizes check_kalman_smoother_backward(const SmootherBackwardArguments& b) {
  const char* const op = "kalman_smoother_backward";
  const Sizes sizes = detail::check_smoother(op, b.forward());
  const Like like{"mean", b.mean};
  detail::check_moments(op, "smoothed_mean", b.smoothed_mean, "smoothed_covariance",
                        b.smoothed_covariance, sizes, like);
  detail::check_count(op, b.grads, 3);
  detail::check_moments(op, "grads[0]", b.grads[0], "grads[1]", b.grads[1], sizes, like);
  check_like({op, "grads", 2}, b.grads[2], {sizes.series, sizes.steps - 1, sizes.n, sizes.n}, like,
             "that of the covariance of neighbours in time");
  return sizes;
}

}  // namespace pyneural::kalman
