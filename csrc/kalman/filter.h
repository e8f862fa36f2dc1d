// A step of the Kalman filter and its gradient, for one series:
//
//   v = y - H m,   S = H P H^T + R,   K = P H^T S^-1,   u = S^-1 v,   A = I - K H
//   m' = m + K v,  P' = A P A^T + K R K^T,  log p(y) = -1/2 (v^T u + log |2 pi S|)
//
// m and P are the state before y is seen, m' and P' after it. The gradient uses that K is optimal:
//
//   dP' = A dP A^T + K dR K^T - A P dH^T K^T - K dH P A^T
//   dm' = A dm + K (dy - dH m) + (A (dP H^T + P dH^T) - K (dH P H^T + dR)) u
//
// A missing component is replaced by an observation 0 of variance 1 that does not depend on x.
#pragma once

#include <limits>
#include <numbers>

#include "matrices.h"

namespace pyneural::kalman {

// What an observation says of the state.
template <int64_t kN, int64_t kP>
class Observation {
 public:
  using Column = Matrix<kN, 1>;
  using States = Matrix<kN, kN>;

  Observation(int64_t n, int64_t p)
      : H(p, n),
        R(p, p),
        v(p, 1),
        u(p, 1),
        HP(p, n),
        K(n, p),
        A(n, n),
        factor_(p, p),
        Kt_(p, n),
        PA_(n, n),
        KR_(n, p),
        seen_(p) {}

  // Returns whether S is positive definite.
  bool read(const double* y, const double* observation, const double* noise, const Column& m,
            const States& P) {
    const int64_t p = H.rows(), n = H.columns();
    H.load(observation);
    R.load_symmetric(noise);
    count_ = 0;
    for (int64_t i = 0; i < p; ++i) {
      seen_[i] = !std::isnan(y[i]);
      count_ += seen_[i];
      v(i, 0) = seen_[i] ? y[i] : 0;
      if (seen_[i]) continue;
      for (int64_t j = 0; j < n; ++j) H(i, j) = 0;
      for (int64_t j = 0; j < p; ++j) R(i, j) = R(j, i) = i == j;
    }
    add_product(v, H, m, -1);
    product(HP, H, P);
    factor_.load(R);
    add_product_nt(factor_, HP, H);
    if (factorize(factor_, static_cast<double>(p) * std::numeric_limits<double>::epsilon()) > 0)
      return false;
    Kt_.load(HP);
    solve(factor_, Kt_);
    u.load(v);
    solve(factor_, u);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < p; ++j) K(i, j) = Kt_(j, i);
    A.fill(0);
    for (int64_t i = 0; i < n; ++i) A(i, i) = 1;
    add_product(A, K, H, -1);
    return true;
  }

  double log_likelihood() const {
    double sum = count_ * std::log(2 * std::numbers::pi);
    for (int64_t i = 0; i < v.rows(); ++i) sum += v(i, 0) * u(i, 0) + 2 * std::log(factor_(i, i));
    return -sum / 2;
  }

  // From before y to after it.
  void update(Column& m, States& P) {
    add_product(m, K, v);
    product(PA_, A, P);
    product_nt(P, PA_, A);
    product(KR_, K, R);
    add_product_nt(P, KR_, K);
    P.symmetrize();  // else rounding errors grow
  }

  // S^-1, of which a gradient needs the elements.
  void invert(Matrix<kP, kP>& S_inverse) const {
    S_inverse.fill(0);
    for (int64_t i = 0; i < v.rows(); ++i) S_inverse(i, i) = 1;
    solve(factor_, S_inverse);
  }

  bool seen(int64_t i) const { return seen_[i]; }

  Matrix<kP, kN> H;
  Matrix<kP, kP> R;
  Matrix<kP, 1> v, u;
  Matrix<kP, kN> HP;
  Matrix<kN, kP> K;
  States A;

 private:
  Matrix<kP, kP> factor_;
  Matrix<kP, kN> Kt_;
  States PA_;
  Matrix<kN, kP> KR_;
  std::vector<char> seen_;
  int64_t count_ = 0;
};

// The gradients of an Observation, from those of m' and P' to those of m, P, y, H and R.
template <int64_t kN, int64_t kP>
class ObservationGradient {
 public:
  using Column = Matrix<kN, 1>;
  using States = Matrix<kN, kN>;

  ObservationGradient(int64_t n, int64_t p)
      : y(p, 1),
        H(p, n),
        R(p, p),
        m_(n, 1),
        P_(n, n),
        Kg_(p, 1),
        KG_(p, n),
        KGA_(p, n),
        GA_(n, n),
        Hu_(n, 1),
        Ag_(n, 1),
        PAg_(n, 1),
        HPHu_(n, 1),
        W_(p, p),
        WH_(p, n) {}

  // g and G: in, the gradients for m' and P', the second symmetric; out, those for m and P.
  void pass(const Observation<kN, kP>& o, const Column& m, const States& P, double log_likelihood,
            Column& g, States& G) {
    const int64_t p = H.rows();
    // W, the gradient for S by way of the log-likelihood.
    o.invert(W_);
    for (int64_t i = 0; i < p; ++i)
      for (int64_t j = 0; j < p; ++j)
        W_(i, j) = log_likelihood / 2 * (o.u(i, 0) * o.u(j, 0) - W_(i, j));
    product_tn(Kg_, o.K, g);
    product_tn(KG_, o.K, G);
    product_tn(Hu_, o.H, o.u);
    product_tn(Ag_, o.A, g);
    product(PAg_, P, Ag_);

    y.fill(0);
    y.add(Kg_);
    y.add(o.u, -log_likelihood);

    product(R, KG_, o.K);
    add_product_nt(R, Kg_, o.u, -1);
    R.add(W_);
    R.symmetrize();

    product(KGA_, KG_, o.A);
    H.fill(0);
    add_product(H, KGA_, P, -2);
    add_product_nt(H, y, m, -1);
    add_product_nt(H, o.u, PAg_);
    product_tn(HPHu_, o.HP, o.u);
    add_product_nt(H, Kg_, HPHu_, -1);
    add_product(H, W_, o.HP, 2);

    product(WH_, W_, o.H);
    product_tn(P_, o.H, WH_);
    add_product_nt(P_, Ag_, Hu_);
    add_congruence_tn(P_, o.A, G, GA_);
    P_.symmetrize();
    std::swap(G.data, P_.data);

    m_.fill(0);
    m_.add(Ag_);
    m_.add(Hu_, log_likelihood);
    std::swap(g.data, m_.data);

    for (int64_t i = 0; i < p; ++i) {
      if (o.seen(i)) continue;
      y(i, 0) = 0;
      for (int64_t j = 0; j < H.columns(); ++j) H(i, j) = 0;
      for (int64_t j = 0; j < p; ++j) R(i, j) = R(j, i) = 0;
    }
  }

  Matrix<kP, 1> y;
  Matrix<kP, kN> H;
  Matrix<kP, kP> R;

 private:
  Column m_;
  States P_;
  Matrix<kP, 1> Kg_;
  Matrix<kP, kN> KG_, KGA_;
  States GA_;
  Column Hu_, Ag_, PAg_, HPHu_;
  Matrix<kP, kP> W_;
  Matrix<kP, kN> WH_;
};

}  // namespace pyneural::kalman
