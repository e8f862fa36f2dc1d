// What the damped_cholesky ops ask of their arguments before memory is touched.
#pragma once

#include <cmath>

#include "../common/checks.h"

namespace pyneural::damped_cholesky {

namespace detail {

inline void check_matrix(const Argument& argument, const at::Tensor& matrix) {
  check_given(argument, matrix);
  TORCH_CHECK_VALUE(matrix.scalar_type() == at::kDouble, argument, ": expected float64, got ",
                    matrix.scalar_type(), "; convert it with .double()");
  TORCH_CHECK_VALUE(matrix.dim() == 2 && matrix.size(0) == matrix.size(1), argument,
                    ": expected shape [n, n], got ", matrix.sizes(),
                    "; torch.linalg.cholesky takes batches");
}

}  // namespace detail

inline void check_damped_cholesky(const at::Tensor& matrix, double damping) {
  detail::check_matrix({"damped_cholesky", "matrix"}, matrix);
  TORCH_CHECK_VALUE(std::isfinite(damping) && damping >= 0,
                    "damped_cholesky: damping: expected a finite number >= 0, got ", damping,
                    "; 0 is none");
}

inline void check_damped_cholesky_solve(const at::Tensor& factor, const at::Tensor& right) {
  const char* const op = "damped_cholesky_solve";
  detail::check_matrix({op, "factor"}, factor);
  check_like({op, "right"}, right, {factor.size(0)}, {"factor", factor},
             "it is one vector of as many elements as the matrix has rows");
}

}  // namespace pyneural::damped_cholesky
