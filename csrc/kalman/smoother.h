// A step of the Rauch-Tung-Striebel smoother and its gradient, for one series:
//
//   J = P Phi^T (Phi P Phi^T + Q)^-1,  A = I - J Phi
//   s = m + J (s_next - Phi m),        V = A P A^T + J (V_next + Q) J^T
//   C = V_next J^T, the covariance of the next state with this one
//
// m and P are the filtered state; Phi m and Phi P Phi^T + Q, the predicted one, come from the
// filter. A direction without predicted variance needs no correction: its pivot is left out.
#pragma once

#include "matrices.h"

namespace pyneural::kalman {

template <int64_t kN>
class SmootherStep {
 public:
  using Column = Matrix<kN, 1>;
  using States = Matrix<kN, kN>;

  explicit SmootherStep(int64_t n)
      : Phi(n, n),
        Q(n, n),
        P(n, n),
        J(n, n),
        A(n, n),
        Jt_(n, n),
        work_(n, n),
        VQ_(n, n),
        factor_(n, n) {}

  // Where the model varies, transition and noise are those that lead to the next step. `rounding`
  // is that of what was predicted.
  void read(const double* transition, const double* noise, const double* covariance,
            const double* predicted_next, double rounding) {
    const int64_t n = Phi.rows();
    Phi.load(transition);
    Q.load_symmetric(noise);
    P.load_symmetric(covariance);
    factor_.load_symmetric(predicted_next);
    factorize(factor_, static_cast<double>(n) * rounding);
    product(Jt_, Phi, P);
    solve(factor_, Jt_);
    A.fill(0);
    for (int64_t i = 0; i < n; ++i) {
      A(i, i) = 1;
      for (int64_t j = 0; j < n; ++j) J(i, j) = Jt_(j, i);
    }
    add_product(A, J, Phi, -1);
  }

  // V of the next step in, of this one out; C beside it.
  void covariance(States& V, States& C) {
    product_nt(C, V, J);
    VQ_.load(V);
    VQ_.add(Q);
    V.fill(0);
    add_congruence(V, A, P, work_);
    add_congruence(V, J, VQ_, work_);
    V.symmetrize();
  }

  // b = (Phi P Phi^T + Q)^-1 b
  void divide(States& b) const { solve(factor_, b); }

  States Phi, Q, P, J, A;

 private:
  States Jt_, work_, VQ_, factor_;
};

// The gradients of a SmootherStep for Phi, Q, m, P and the predicted state that follows.
template <int64_t kN>
class SmootherGradient {
 public:
  using Column = Matrix<kN, 1>;
  using States = Matrix<kN, kN>;

  explicit SmootherGradient(int64_t n)
      : Phi(n, n),
        Q(n, n),
        P(n, n),
        predicted_mean(n, 1),
        predicted_covariance(n, n),
        J_(n, n),
        A_(n, n),
        VQ_(n, n),
        work_(n, n),
        next_(n, n),
        Xt_(n, n),
        difference_(n, 1),
        s_(n, 1) {}

  // s_next, V_next, predicted_next: of the next step. gC: the gradient for C. gs and gV: in, the
  // gradients for s and V, the second symmetric; out, the parts of those for s_next and V_next.
  void pass(const SmootherStep<kN>& step, const Column& s_next, const States& V_next,
            const Column& predicted_next, const States& gC, Column& gs, States& gV) {
    difference_.load(s_next);
    difference_.add(predicted_next, -1);
    product_nt(J_, gs, difference_);

    VQ_.load(V_next);
    VQ_.add(step.Q);
    product(work_, gV, step.J);
    add_product(J_, work_, VQ_, 2);
    product_tn(Q, step.J, work_);
    next_.load(Q);

    product(work_, gV, step.A);
    product_tn(P, step.A, work_);
    product(A_, work_, step.P);  // half the gradient for A
    add_product_nt(J_, A_, step.Phi, -2);
    Phi.fill(0);
    add_product_tn(Phi, step.J, A_, -2);

    add_product(next_, gC, step.J);
    next_.symmetrize();
    add_product_tn(J_, gC, V_next);

    // J = P Phi^T X^-1: Xt = X^-1 gJ^T.
    for (int64_t i = 0; i < J_.rows(); ++i)
      for (int64_t j = 0; j < J_.rows(); ++j) Xt_(i, j) = J_(j, i);
    step.divide(Xt_);
    add_product_tn(P, Xt_, step.Phi);
    P.symmetrize();
    add_product(Phi, Xt_, step.P);
    predicted_covariance.fill(0);
    add_product(predicted_covariance, Xt_, step.J, -1);
    predicted_covariance.symmetrize();

    product_tn(s_, step.J, gs);
    predicted_mean.fill(0);
    predicted_mean.add(s_, -1);
    std::swap(gs.data, s_.data);
    std::swap(gV.data, next_.data);
  }

  States Phi, Q, P;
  Column predicted_mean;
  States predicted_covariance;

 private:
  States J_, A_, VQ_, work_, next_, Xt_;
  Column difference_, s_;
};

}  // namespace pyneural::kalman
