// The method of Dormand and Prince 1980, and the control of its step: numbers, without a field.
//
// The same as pyneural/ode/tableau.py and step.py, which cite the sources.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

namespace pyneural::continuous_flow {

// k_i = u(t + c_i h, y + h sum_j a_ij k_j),  y(t + h) = y + h sum_i b_i k_i.  b is the last row of
// a, so the last stage is the first one of the next step.
struct Dopri5 {
  static constexpr int kStages = 7;
  static constexpr double kOrder = 5;
  using Row = std::array<double, kStages>;

  static constexpr Row c{0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
  static constexpr std::array<Row, kStages> a{{
      {},
      {1. / 5},
      {3. / 40, 9. / 40},
      {44. / 45, -56. / 15, 32. / 9},
      {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
      {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
      {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84},
  }};
  static constexpr Row b = a[kStages - 1];
  // b - b^ of the embedded method of order 4, which estimates the error.
  static constexpr Row error{b[0] - 5179. / 57600,
                             0,
                             b[2] - 7571. / 16695,
                             b[3] - 393. / 640,
                             b[4] + 92097. / 339200,
                             b[5] - 187. / 2100,
                             -1. / 40};
};

// Errors are in units of the tolerance.
class Controller {
 public:
  // What the step is to be multiplied by after one of an error; it was taken if <= 1.
  double factor(double error) {
    if (!(error < HUGE_VAL)) return 0.1;  // also NaN
    error = std::max(error, 1e-9);
    if (error > 1) return std::max(0.2, 0.9 * std::pow(error, -1 / Dopri5::kOrder));
    const double factor =
        0.9 * std::pow(error, -0.85 / Dopri5::kOrder) * std::pow(before_, 0.2 / Dopri5::kOrder);
    before_ = error;
    return std::clamp(factor, 0.2, 10.0);
  }

  // A length to try first, from the sizes of y and y'.
  static double trial_length(double size, double rate, double whole) {
    return std::min(size > 1e-5 && rate > 1e-5 ? 0.01 * size / rate : 1e-6, whole);
  }
  // The first step, from that and the size of y''.
  static double first_length(double trial, double rate, double curvature, double whole) {
    const double most = std::max(rate, curvature);
    const double second =
        most > 1e-15 ? std::pow(0.01 / most, 1 / Dopri5::kOrder) : std::max(1e-6, 1e-3 * trial);
    const double length = std::min({100 * trial, second, whole});
    return length > 0 && length < HUGE_VAL ? length : 1e-6 * whole;  // where u is not finite
  }

 private:
  double before_ = 1;  // the error of the step before
};

}  // namespace pyneural::continuous_flow
