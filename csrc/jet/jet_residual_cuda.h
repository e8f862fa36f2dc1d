// What the CUDA kernels of residuals take: plain pointers and sizes, no torch.
//
// Letters: N points, E equations, P parameters, Q coefficients, M = P + Q, R columns, V values of
// the program.
#pragma once

#include <algorithm>

#include "jet_cuda.h"
#include "residual_steps.h"

namespace pyneural::jet {

// The residuals of some points and J^T, their gradients for the parameters and the coefficients.
template <class T>
struct ResidualJacobianParams {
  JetParams<T> jet;  // the network, all points and the tiles; of its pointers only x
  const ResidualStep* steps = nullptr;  // [V]
  const int64_t* residuals = nullptr;   // [E] values that are equations
  int32_t values = 0, equations = 0;    // V, E
  int64_t coefficient_count = 0;        // Q
  const T* coefficients = nullptr;      // [Q]
  const T* columns = nullptr;           // [R, N]
  int64_t first = 0, count = 0;         // the points of a launch

  // Element (m, e, n) of J^T at m * row_stride + e * equation_stride + n - first, and (e, n) of r
  // at e * equation_stride + n - first.
  T* jacobian = nullptr;
  T* r = nullptr;
  int64_t row_stride = 0, equation_stride = 0;

  // Chooses the tiles for the current device and launches of `points` each; jet.scratch is the
  // caller's to allocate, as for JetParams.
  cudaError_t configure(int64_t points);
  cudaError_t launch(cudaStream_t stream) const;
};

}  // namespace pyneural::jet
