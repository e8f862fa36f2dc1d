// What the spline ops ask of their arguments before memory is touched.
#pragma once

#include <cmath>

#include "../common/checks.h"

namespace pyneural::spline {

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const at::Tensor&, double, double, bool);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const at::Tensor&, const at::Tensor&, const at::Tensor&, double,
                                 double, bool);

struct Arguments {
  const at::Tensor &x, &widths, &heights, &derivatives;
  double bound, slope;
  bool inverse;
};
struct BackwardArguments {
  const at::Tensor &grad_y, &grad_ladj, &x, &widths, &heights, &derivatives;
  double bound, slope;
  bool inverse;
};

// Of any op with a spline. Within these bounds, nothing that is computed leaves the range of
// float32.
inline void check_bound_and_slope(const char* op, double bound, double slope) {
  constexpr double kLeastBound = 1e-15, kGreatestBound = 1e15, kLeastSlope = 1e-6;
  TORCH_CHECK_VALUE(kLeastBound <= bound && bound <= kGreatestBound, op,
                    ": bound: expected a number from ", kLeastBound, " to ", kGreatestBound,
                    ", got ", bound, "; 5 takes standardised data");
  TORCH_CHECK_VALUE(kLeastSlope <= slope && slope < 1, op, ": slope: expected a number from ",
                    kLeastSlope, " to below 1, got ", slope, "; 0.001 is usual");
}

namespace detail {

// Returns K, the number of bins.
inline int64_t check(const char* op, const Arguments& a) {
  check_dtype({op, "x"}, a.x, Precisions::full, "convert it with x.float()");
  check_given({op, "widths"}, a.widths);
  TORCH_CHECK_VALUE(a.widths.dim() == a.x.dim() + 1 && a.widths.size(-1) >= 1, op,
                    ": widths: expected the shape of x, ", a.x.sizes(),
                    ", and one more dimension with at least one bin, got ", a.widths.sizes(),
                    "; the last dimension is that of the bins");
  const int64_t bins = a.widths.size(-1);
  c10::DimVector shape(a.x.sizes());
  shape.push_back(bins);
  const auto check_parameter = [&](const char* name, const at::Tensor& tensor) {
    check_like({op, name}, tensor, shape, {"x", a.x}, "it must fit x, ", a.x.sizes(), ", and ",
               bins, " bins");
  };
  check_parameter("widths", a.widths);
  check_parameter("heights", a.heights);
  shape.back() = bins - 1;
  check_parameter("derivatives", a.derivatives);
  check_bound_and_slope(op, a.bound, a.slope);
  return bins;
}

}  // namespace detail

inline int64_t check_rational_quadratic_spline(const Arguments& a) {
  return detail::check("rational_quadratic_spline", a);
}

inline int64_t check_rational_quadratic_spline_backward(const BackwardArguments& b) {
  const char* const op = "rational_quadratic_spline_backward";
  const int64_t bins =
      detail::check(op, {b.x, b.widths, b.heights, b.derivatives, b.bound, b.slope, b.inverse});
  check_like({op, "grad_y"}, b.grad_y, b.x.sizes(), {"x", b.x}, "it is the gradient of y");
  check_like({op, "grad_ladj"}, b.grad_ladj, b.x.sizes(), {"x", b.x},
             "it is the gradient of log|dy/dx|");
  return bins;
}

}  // namespace pyneural::spline
