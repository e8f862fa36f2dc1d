// Small matrices in double precision: products and triangular factors. A column is a matrix [n, 1].
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace pyneural::kalman {

// Sizes that are known when compiling, which a step of a few operations needs, or 0.
template <int64_t kRows, int64_t kColumns>
struct Matrix {
  static constexpr bool is_fixed = kRows > 0 && kColumns > 0;

  Matrix(int64_t rows, int64_t columns) : rows_(rows), columns_(columns), data() {
    if constexpr (!is_fixed) data.resize(rows * columns);
  }

  int64_t rows() const { return kRows > 0 ? kRows : rows_; }
  int64_t columns() const { return kColumns > 0 ? kColumns : columns_; }
  int64_t size() const { return rows() * columns(); }

  double& operator()(int64_t i, int64_t j) { return data[i * columns() + j]; }
  double operator()(int64_t i, int64_t j) const { return data[i * columns() + j]; }

  void fill(double value) { std::fill_n(data.begin(), size(), value); }

  void load(const double* from) { std::copy_n(from, size(), data.begin()); }
  void load(const Matrix& other) { load(other.data.data()); }
  void store(double* to) const { std::copy_n(data.begin(), size(), to); }
  void add(const double* from, double scale = 1) {
    for (int64_t i = 0; i < size(); ++i) data[i] += scale * from[i];
  }
  void add(const Matrix& other, double scale = 1) { add(other.data.data(), scale); }

  // To the symmetric part: what a covariance and its gradient are.
  void symmetrize() {
    for (int64_t i = 0; i < rows(); ++i)
      for (int64_t j = 0; j < i; ++j)
        (*this)(i, j) = (*this)(j, i) = ((*this)(i, j) + (*this)(j, i)) / 2;
  }
  void load_symmetric(const double* from) {
    load(from);
    symmetrize();
  }

 private:
  int64_t rows_, columns_;

 public:
  std::conditional_t<is_fixed, std::array<double, is_fixed ? kRows * kColumns : 1>,
                     std::vector<double>>
      data;
};

// c += scale a b
template <class C, class A, class B>
void add_product(C& c, const A& a, const B& b, double scale = 1) {
  for (int64_t i = 0; i < a.rows(); ++i)
    for (int64_t k = 0; k < a.columns(); ++k) {
      const double factor = scale * a(i, k);
      for (int64_t j = 0; j < b.columns(); ++j) c(i, j) += factor * b(k, j);
    }
}

// c += scale a^T b
template <class C, class A, class B>
void add_product_tn(C& c, const A& a, const B& b, double scale = 1) {
  for (int64_t k = 0; k < a.rows(); ++k)
    for (int64_t i = 0; i < a.columns(); ++i) {
      const double factor = scale * a(k, i);
      for (int64_t j = 0; j < b.columns(); ++j) c(i, j) += factor * b(k, j);
    }
}

// c += scale a b^T
template <class C, class A, class B>
void add_product_nt(C& c, const A& a, const B& b, double scale = 1) {
  for (int64_t i = 0; i < a.rows(); ++i)
    for (int64_t j = 0; j < b.rows(); ++j) {
      double sum = 0;
      for (int64_t k = 0; k < a.columns(); ++k) sum += a(i, k) * b(j, k);
      c(i, j) += scale * sum;
    }
}

template <class C, class A, class B>
void product(C& c, const A& a, const B& b) {
  c.fill(0);
  add_product(c, a, b);
}
template <class C, class A, class B>
void product_tn(C& c, const A& a, const B& b) {
  c.fill(0);
  add_product_tn(c, a, b);
}
template <class C, class A, class B>
void product_nt(C& c, const A& a, const B& b) {
  c.fill(0);
  add_product_nt(c, a, b);
}

// c += scale a b a^T, by way of ab.
template <class C, class A, class B, class AB>
void add_congruence(C& c, const A& a, const B& b, AB& ab, double scale = 1) {
  product(ab, a, b);
  add_product_nt(c, ab, a, scale);
}
// c += scale a^T b a, by way of ba.
template <class C, class A, class B, class BA>
void add_congruence_tn(C& c, const A& a, const B& b, BA& ba, double scale = 1) {
  product(ba, b, a);
  add_product_tn(c, a, ba, scale);
}

// Overwrites the lower triangle of a symmetric matrix with L of L L^T. Where a pivot is at most
// `relative` of its diagonal element, the column becomes 0: that of a positive semi-definite matrix
// is then 0 but for rounding. Returns the number of these.
template <class A>
int64_t factorize(A& a, double relative) {
  int64_t skipped = 0;
  for (int64_t j = 0; j < a.rows(); ++j) {
    double pivot = a(j, j);
    const double least = relative * pivot;
    for (int64_t k = 0; k < j; ++k) pivot -= a(j, k) * a(j, k);
    const bool is_regular = pivot > least;  // false also for NaN
    skipped += !is_regular;
    a(j, j) = is_regular ? std::sqrt(pivot) : 0;
    for (int64_t i = j + 1; i < a.rows(); ++i) {
      double sum = a(i, j);
      for (int64_t k = 0; k < j; ++k) sum -= a(i, k) * a(j, k);
      a(i, j) = is_regular ? sum / a(j, j) : 0;
    }
  }
  return skipped;
}

// b = (L L^T)^-1 b; the components of skipped pivots become 0, which solves a consistent system.
template <class A, class B>
void solve(const A& factor, B& b) {
  const auto divide = [&](int64_t i) {
    const double pivot = factor(i, i);
    for (int64_t j = 0; j < b.columns(); ++j) b(i, j) = pivot > 0 ? b(i, j) / pivot : 0;
  };
  for (int64_t i = 0; i < b.rows(); ++i) {
    for (int64_t k = 0; k < i; ++k)
      for (int64_t j = 0; j < b.columns(); ++j) b(i, j) -= factor(i, k) * b(k, j);
    divide(i);
  }
  for (int64_t i = b.rows() - 1; i >= 0; --i) {
    for (int64_t k = i + 1; k < b.rows(); ++k)
      for (int64_t j = 0; j < b.columns(); ++j) b(i, j) -= factor(k, i) * b(k, j);
    divide(i);
  }
}

}  // namespace pyneural::kalman
