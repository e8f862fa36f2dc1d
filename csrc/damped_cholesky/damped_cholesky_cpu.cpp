// Cholesky's factorisation of a matrix with a damping on its diagonal, and the solution with it:
//
//   A + damping I = U^T U,   x = U^-1 U^-T b
//
// There is no CUDA kernel: on other devices it is torch's own.
#include <ATen/ops/clone.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/library.h>

#include "../common/scratch.h"
#include "damped_cholesky_check.h"
#include "panel_cholesky.h"

namespace pyneural::damped_cholesky {
namespace {

using Two = std::tuple<at::Tensor, at::Tensor>;
using V = Vec<double>;

// y -= factor * x, [size].
void subtract_multiple(double factor, const double* x, double* y, int64_t size) {
  int64_t i = 0;
  for (; i + lanes<double>() <= size; i += lanes<double>())
    at::vec::fnmadd(V(factor), V::loadu(x + i), V::loadu(y + i)).store(y + i);
  for (; i < size; ++i) y[i] -= factor * x[i];
}

double dot(const double* x, const double* y, int64_t size) {
  constexpr int kSums = 4;  // which do not wait for each other
  V sums[kSums] = {V(0), V(0), V(0), V(0)};
  int64_t i = 0;
  for (; i + kSums * lanes<double>() <= size; i += kSums * lanes<double>())
    for (int s = 0; s < kSums; ++s) {
      const int64_t at = i + s * lanes<double>();
      sums[s] = at::vec::fmadd(V::loadu(x + at), V::loadu(y + at), sums[s]);
    }
  double sum = lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < size; ++i) sum += x[i] * y[i];
  return sum;
}

Two damped_cholesky(const at::Tensor& matrix, double damping) {
  check_damped_cholesky(matrix, damping);
  const int64_t n = matrix.size(0);
  const auto a = matrix.expect_contiguous();
  const at::Tensor factor = at::empty({n, n}, matrix.options());
  const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  const int64_t threads = useful_threads(cube / 6);
  Scratch scratch;
  PanelCholesky cholesky(n, scratch.take<double>(PanelCholesky::storage(n)));
  cholesky.load(a->const_data_ptr<double>(), damping, threads);
  const bool is_definite = cholesky.factor(threads);
  cholesky.store(factor.mutable_data_ptr<double>(), threads);
  return {factor, at::scalar_tensor(is_definite, at::kBool)};
}

at::Tensor damped_cholesky_solve(const at::Tensor& factor, const at::Tensor& right) {
  check_damped_cholesky_solve(factor, right);
  const int64_t n = factor.size(0);
  const auto u = factor.expect_contiguous();
  const at::Tensor solution = right.clone(at::MemoryFormat::Contiguous);
  const double* const first = u->const_data_ptr<double>();
  double* const x = solution.mutable_data_ptr<double>();
  for (int64_t i = 0; i < n; ++i) {
    const double* const row = first + i * n;
    x[i] /= row[i];
    subtract_multiple(x[i], row + i + 1, x + i + 1, n - i - 1);
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    const double* const row = first + i * n;
    x[i] = (x[i] - dot(row + i + 1, x + i + 1, n - i - 1)) / row[i];
  }
  return solution;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("damped_cholesky", damped_cholesky);
  m.impl("damped_cholesky_solve", damped_cholesky_solve);
}

}  // namespace pyneural::damped_cholesky
