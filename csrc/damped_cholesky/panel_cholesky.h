// Cholesky's factorisation A = U^T U, U upper triangular, on the panels of triangle_panels.h.
//
// U has blocks of kWidth x kWidth elements, block (i, j) in panel j. Blocks of rows are finished
// one after the other: a block of one is what A has there, less the products of the finished ones,
//
//   C_ij = A_ij - sum_(k < i) U_ki^T U_kj,   U_ii^T U_ii = C_ii,   U_ij = U_ii^-T C_ij
//
// Of the sum, the part of every kGroup finished block rows is taken from all blocks below at once,
// and that of the group under way where a block is finished. A block is one thread's at a time,
// so that the bits do not depend on the threads.
#pragma once

#include <cmath>

#include "../common/parallel.h"
#include "../common/triangle_panels.h"

namespace pyneural {

class PanelCholesky {
 public:
  static int64_t storage(int64_t size) { return TrianglePanels::storage(size); }

  // `panels`: storage(size) long, not initialised.
  PanelCholesky(int64_t size, double* panels)
      : size_(size), count_(TrianglePanels::count(size)), panels_(panels) {}

  // The upper triangle of `matrix` [size, size], row-major, with the damping on its diagonal. What
  // fills up the last block is that of the identity.
  void load(const double* matrix, double damping, int64_t threads) {
    parallel_tasks(count_, threads, [&](int64_t j) {
      const int64_t first = j * kWidth, width = std::min(kWidth, size_ - first);
      double* to = row(0, j);
      for (int64_t i = 0; i < first + kWidth; ++i, to += kWidth) {
        const int64_t columns = i < size_ ? width : 0;
        if (columns > 0) std::copy_n(matrix + i * size_ + first, columns, to);
        std::fill(to + columns, to + kWidth, 0.0);
        if (i >= size_)
          to[i - first] = 1;
        else if (i >= first)
          to[i - first] += damping;
      }
    });
  }

  // A becomes U; whether A is positive definite. Where it is not, what is left is neither.
  bool factor(int64_t threads) {
    bool is_definite = true;
    for (int64_t group = 0; group < count_; group += kGroup) {
      const int64_t end = std::min(group + kGroup, count_);
      is_definite = factor_block(group);
      for (int64_t i = group; i < end && is_definite; ++i)
        parallel_tasks(count_ - i - 1, threads, [&](int64_t task) {
          const int64_t j = i + 1 + task;
          subtract(i, j, group, i);
          solve_block(i, j);
          // The next block of the diagonal, for which the others need not wait then.
          if (task > 0 || j >= end) return;
          subtract(j, j, group, j);
          is_definite = factor_block(j);
        });
      if (!is_definite) return false;
      parallel_tasks(count_ - end, threads, [&](int64_t task) {
        const int64_t j = count_ - 1 - task;
        for (int64_t i = end; i <= j; ++i) subtract(i, j, group, end);
      });
    }
    return true;
  }

  // U to [size, size], row-major, with zeros below the diagonal.
  void store(double* to, int64_t threads) const {
    parallel_tasks(count_, threads, [&](int64_t i) {
      for (int64_t r = i * kWidth; r < std::min((i + 1) * kWidth, size_); ++r) {
        double* const line = to + r * size_;
        std::fill(line, line + r, 0.0);
        for (int64_t j = i; j < count_; ++j) {
          const int64_t first = std::max(r, j * kWidth), last = std::min((j + 1) * kWidth, size_);
          std::copy_n(row(r, j) + first - j * kWidth, last - first, line + first);
        }
      }
    });
  }

 private:
  static constexpr int64_t kWidth = TrianglePanels::kWidth, kVectors = kWidth / lanes<double>();
  // Rows of as many blocks of two panels fit into the second-level cache.
  static constexpr int64_t kGroup = 20;

  // Row r of panel j.
  double* row(int64_t r, int64_t j) const {
    return panels_ + TrianglePanels::begin(j) + r * kWidth;
  }

  // C_ij -= sum_k U_ki^T U_kj over blocks k of [first, last).
  void subtract(int64_t i, int64_t j, int64_t first, int64_t last) const {
    if (first == last) return;
    const int64_t depth = (last - first) * kWidth;
    const Strided<double> left{row(first * kWidth, i), 1, kWidth};
    double* const c = row(i * kWidth, j);
    alignas(kCacheLine) double product[kTileRows * kWidth];
    for (int64_t v = 0; v < kVectors; v += kTileVectors) {
      const Panel<double> right{row(first * kWidth, j) + v * lanes<double>(), kWidth,
                                std::min<int64_t>(kTileVectors, kVectors - v)};
      for_row_tiles(0, kWidth, [&](int64_t r, int64_t height) {
        multiply(left.from(r, 0), height, depth, right, product, kWidth);
        for (int64_t m = 0; m < height; ++m)
          for (int64_t n = 0; n < right.vectors; ++n)
            as_register(c + (r + m) * kWidth + (v + n) * lanes<double>()) -=
                as_register(product + m * kWidth + n * lanes<double>());
      });
    }
  }

  // C_ii becomes U_ii; whether it is positive definite. Not by comparing with 0 alone: not if NaN.
  bool factor_block(int64_t i) const {
    double* const c = row(i * kWidth, i);
    for (int64_t k = 0; k < kWidth; ++k) {
      double* const pivot = c + k * kWidth;
      if (!(pivot[k] > 0) || !std::isfinite(pivot[k])) return false;
      const double root = std::sqrt(pivot[k]);
      pivot[k] = root;
      for (int64_t n = k + 1; n < kWidth; ++n) pivot[n] /= root;
      for (int64_t r = k + 1; r < kWidth; ++r) {
        const double factor = pivot[r];
        for (int64_t v = r / lanes<double>(); v < kVectors; ++v)
          as_register(c + r * kWidth + v * lanes<double>()) -=
              factor * as_register(pivot + v * lanes<double>());
      }
    }
    return true;
  }

  // C_ij becomes U_ii^-T C_ij.
  void solve_block(int64_t i, int64_t j) const {
    const double* const u = row(i * kWidth, i);
    double* const c = row(i * kWidth, j);
    for (int64_t r = 0; r < kWidth; ++r) {
      Register<double> sum[kVectors];
      for (int64_t v = 0; v < kVectors; ++v)
        sum[v] = as_register(c + r * kWidth + v * lanes<double>());
      for (int64_t k = 0; k < r; ++k)
        for (int64_t v = 0; v < kVectors; ++v)
          sum[v] -= u[k * kWidth + r] * as_register(c + k * kWidth + v * lanes<double>());
      for (int64_t v = 0; v < kVectors; ++v)
        as_register(c + r * kWidth + v * lanes<double>()) = sum[v] / u[r * kWidth + r];
    }
  }

  int64_t size_, count_;
  double* panels_;
};

}  // namespace pyneural
