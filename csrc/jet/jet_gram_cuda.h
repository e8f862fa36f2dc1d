// The Gram matrix X X^T / N of the rows of X, added up over blocks of its columns, and the last row
// of X apart: of J^T and, below it, r. Plain pointers and sizes, no torch.
//
// Letters: M parameters and coefficients, S splits.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>

#include "../dense/dense_cuda.h"
#include "jet_residual_cuda.h"

namespace pyneural::jet {

constexpr int kGramPanel = 128;  // rows and columns of a panel of the matrix

template <class T>
struct GramParams {
  int64_t rows = 0;  // M + 1
  // X [rows, depth] twice, whose rows begin at 16 bytes; its columns differ from launch to launch.
  dense::ProductParams<T> product;
  int32_t splits = 1;  // of the columns, each with sums of its own
  // [S, panels, 128, 128] of the panels on and below the diagonal, row by row; zeros at first.
  double* sums = nullptr;

  double scale = 1;       // what the sums are multiplied with
  T* gram = nullptr;      // [M, M]
  T* gradient = nullptr;  // [M]
  T* mean = nullptr;      // []

  int64_t panels() const {
    const int64_t side = (rows + kGramPanel - 1) / kGramPanel;
    return side * (side + 1) / 2;
  }
  int64_t sums_size() const { return splits * panels() * kGramPanel * kGramPanel; }
  void set_columns(const T* x, int64_t row_stride, int64_t depth) {
    product.rows = product.columns = rows;
    product.depth = depth;
    product.a = product.b = {x, row_stride, 1};
  }

  // Chooses the splits for the current device, of launches of up to `depth` columns.
  cudaError_t configure(int64_t depth);
  // Adds the product of the columns that are set.
  cudaError_t launch_add(cudaStream_t stream) const;
  // The results, when all are added.
  cudaError_t launch_store(cudaStream_t stream) const;
};

// Points whose J^T is made at a time, for `bytes` of a point: as many as stay in a second-level
// cache, but enough to occupy the device.
inline int64_t points_at_a_time(int64_t points, int64_t bytes) {
  constexpr int64_t kBytes = int64_t{16} << 20, kLeast = 2048, kWhole = 128;
  const int64_t fit = std::max(kBytes / bytes / kWhole * kWhole, kLeast);
  return std::min(points, fit);
}

// Elements from a row of X to the next, so that each begins at 16 bytes.
template <class T>
constexpr int64_t gram_row_stride(int64_t columns) {
  constexpr int64_t kVector = 16 / sizeof(T);
  return (columns + kVector - 1) / kVector * kVector;
}

// The results of `sum` from J^T and r of `points` at a time, which `jacobian` is configured for, in
// `block` [M + 1, gram_row_stride(E points)].
template <class T>
cudaError_t launch_gram(ResidualJacobianParams<T>& jacobian, GramParams<T>& sum, T* block,
                        int64_t points, cudaStream_t stream) {
  const int64_t count = jacobian.jet.points, equations = jacobian.equations;
  jacobian.row_stride = gram_row_stride<T>(equations * points);
  jacobian.jacobian = block;
  jacobian.r = block + (sum.rows - 1) * jacobian.row_stride;
  for (int64_t first = 0; first < count; first += points) {
    jacobian.first = first;
    jacobian.count = jacobian.equation_stride = std::min(points, count - first);
    if (const cudaError_t error = jacobian.launch(stream)) return error;
    sum.set_columns(block, jacobian.row_stride, equations * jacobian.count);
    if (const cudaError_t error = sum.launch_add(stream)) return error;
  }
  sum.scale = 1 / static_cast<double>(count);
  return sum.launch_store(stream);
}

}  // namespace pyneural::jet
