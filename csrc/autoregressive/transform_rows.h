// The transforms of features as functions of a row of points: all of a layer's kernels that is
// compiled for each transform.
#pragma once

#include <variant>

#include "../common/vector_math.h"
#include "../common/vectors.h"
#include "affine.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {

// Rows of a feature's points: what is given and the parameters [P], `stride` apart; working memory
// of the size of these.
template <class T>
struct FeatureRows {
  int64_t columns, stride;
  const T* given;
  T* working;
};

template <class T>
class Transform {
 public:
  explicit Transform(const FlowLayer& layer) {
    if (layer.transform == TransformKind::affine)
      use(make_affine<T>(layer.slope, layer.inverse));
    else
      use(spline::make_spline<T>((layer.parameters_of_feature + 1) / 3, layer.bound, layer.slope,
                                 layer.inverse));
  }

  // Adds to ladj.
  void values(const FeatureRows<T>& rows, const T* parameters, T* result, T* ladj) const {
    evaluate_(*this, rows, parameters, result, ladj);
  }
  // grad: of the result, then of what is given; the gradients of parameters take the place of
  // these.
  void gradients(const FeatureRows<T>& rows, const T* grad_ladj, T* parameters, T* grad) const {
    differentiate_(*this, rows, grad_ladj, parameters, grad);
  }

 private:
  template <class Kind>
  void use(const Kind& kind) {
    kind_ = kind;
    evaluate_ = evaluate_row<Kind>;
    differentiate_ = differentiate_row<Kind>;
  }

  template <class Kind>
  static void evaluate_row(const Transform& transform, const FeatureRows<T>& rows,
                           const T* parameters, T* result, T* ladj) {
    const Kind kind = std::get<Kind>(transform.kind_);
    const auto [columns, stride, given, working] = rows;
    for (int64_t n = 0; n < columns; n += lanes<T>()) {
      const auto [value, added] =
          evaluate(kind, Vec<T>::loadu(given + n), parameters + n, working + n, stride);
      value.store(result + n);
      (Vec<T>::loadu(ladj + n) + added).store(ladj + n);
    }
  }
  template <class Kind>
  static void differentiate_row(const Transform& transform, const FeatureRows<T>& rows,
                                const T* grad_ladj, T* parameters, T* grad) {
    const Kind kind = std::get<Kind>(transform.kind_);
    const auto [columns, stride, given, working] = rows;
    for (int64_t n = 0; n < columns; n += lanes<T>())
      differentiate(kind, Vec<T>::loadu(given + n), Vec<T>::loadu(grad + n),
                    Vec<T>::loadu(grad_ladj + n), parameters + n, working + n, stride)
          .store(grad + n);
  }

  std::variant<Affine<T>, spline::Spline<T>> kind_;
  void (*evaluate_)(const Transform&, const FeatureRows<T>&, const T*, T*, T*) = nullptr;
  void (*differentiate_)(const Transform&, const FeatureRows<T>&, const T*, T*, T*) = nullptr;
};

}  // namespace pyneural::autoregressive
