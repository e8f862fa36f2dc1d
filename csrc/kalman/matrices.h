// Small matrices in double precision: products and triangular factors. A column is a matrix [n, 1].
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace pyneural::kalman {

struct Matrix {
  Matrix(int64_t rows, int64_t columns) : rows(rows), columns(columns), data(rows * columns) {}

  double& operator()(int64_t i, int64_t j) { return data[i * columns + j]; }
  double operator()(int64_t i, int64_t j) const { return data[i * columns + j]; }

  void fill(double value) { std::fill(data.begin(), data.end(), value); }

  template <class T>
  void load(const T* from) {
    std::copy_n(from, data.size(), data.begin());
  }
  template <class T>
  void store(T* to) const {
    std::transform(data.begin(), data.end(), to, [](double x) { return static_cast<T>(x); });
  }
  template <class T>
  void add(const T* from, double scale = 1) {
    for (size_t i = 0; i < data.size(); ++i) data[i] += scale * static_cast<double>(from[i]);
  }
  void add(const Matrix& other, double scale = 1) { add(other.data.data(), scale); }

  // Of the symmetric part: what a covariance and its gradient are.
  void symmetrize() {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < i; ++j)
        (*this)(i, j) = (*this)(j, i) = ((*this)(i, j) + (*this)(j, i)) / 2;
  }
  template <class T>
  void load_symmetric(const T* from) {
    load(from);
    symmetrize();
  }

  int64_t rows, columns;
  std::vector<double> data;
};

// c += scale a b
inline void add_product(Matrix& c, const Matrix& a, const Matrix& b, double scale = 1) {
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t k = 0; k < a.columns; ++k) {
      const double factor = scale * a(i, k);
      for (int64_t j = 0; j < b.columns; ++j) c(i, j) += factor * b(k, j);
    }
}

// c += scale a^T b
inline void add_product_tn(Matrix& c, const Matrix& a, const Matrix& b, double scale = 1) {
  for (int64_t k = 0; k < a.rows; ++k)
    for (int64_t i = 0; i < a.columns; ++i) {
      const double factor = scale * a(k, i);
      for (int64_t j = 0; j < b.columns; ++j) c(i, j) += factor * b(k, j);
    }
}

// c += scale a b^T
inline void add_product_nt(Matrix& c, const Matrix& a, const Matrix& b, double scale = 1) {
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.rows; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < a.columns; ++k) sum += a(i, k) * b(j, k);
      c(i, j) += scale * sum;
    }
}

inline void product(Matrix& c, const Matrix& a, const Matrix& b) {
  c.fill(0);
  add_product(c, a, b);
}
inline void product_tn(Matrix& c, const Matrix& a, const Matrix& b) {
  c.fill(0);
  add_product_tn(c, a, b);
}
inline void product_nt(Matrix& c, const Matrix& a, const Matrix& b) {
  c.fill(0);
  add_product_nt(c, a, b);
}

// c += scale a b a^T, by way of ab.
inline void add_congruence(Matrix& c, const Matrix& a, const Matrix& b, Matrix& ab,
                           double scale = 1) {
  product(ab, a, b);
  add_product_nt(c, ab, a, scale);
}
// c += scale a^T b a, by way of ba.
inline void add_congruence_tn(Matrix& c, const Matrix& a, const Matrix& b, Matrix& ba,
                              double scale = 1) {
  product(ba, b, a);
  add_product_tn(c, a, ba, scale);
}

// Overwrites the lower triangle of a symmetric matrix with L of L L^T. Where a pivot is at most
// `relative` of its diagonal element, the column becomes 0: that of a positive semi-definite matrix
// is then 0 but for rounding. Returns the number of these.
inline int64_t factorize(Matrix& a, double relative) {
  int64_t skipped = 0;
  for (int64_t j = 0; j < a.rows; ++j) {
    double pivot = a(j, j);
    const double least = relative * pivot;
    for (int64_t k = 0; k < j; ++k) pivot -= a(j, k) * a(j, k);
    const bool is_regular = pivot > least;  // false also for NaN
    skipped += !is_regular;
    a(j, j) = is_regular ? std::sqrt(pivot) : 0;
    for (int64_t i = j + 1; i < a.rows; ++i) {
      double sum = a(i, j);
      for (int64_t k = 0; k < j; ++k) sum -= a(i, k) * a(j, k);
      a(i, j) = is_regular ? sum / a(j, j) : 0;
    }
  }
  return skipped;
}

// b = (L L^T)^-1 b; the components of skipped pivots become 0, which solves a consistent system.
inline void solve(const Matrix& factor, Matrix& b) {
  const auto divide = [&](int64_t i) {
    const double pivot = factor(i, i);
    for (int64_t j = 0; j < b.columns; ++j) b(i, j) = pivot > 0 ? b(i, j) / pivot : 0;
  };
  for (int64_t i = 0; i < b.rows; ++i) {
    for (int64_t k = 0; k < i; ++k)
      for (int64_t j = 0; j < b.columns; ++j) b(i, j) -= factor(i, k) * b(k, j);
    divide(i);
  }
  for (int64_t i = b.rows - 1; i >= 0; --i) {
    for (int64_t k = i + 1; k < b.rows; ++k)
      for (int64_t j = 0; j < b.columns; ++j) b(i, j) -= factor(k, i) * b(k, j);
    divide(i);
  }
}

}  // namespace pyneural::kalman
