// The transform of a feature: affine or a spline, as its layer has it.
#pragma once

#include <variant>

#include "../common/vectors.h"
#include "affine.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {

// Columns are whole vectors; rows of parameters and of working memory are `stride` apart.
template <class T>
class Transform {
 public:
  explicit Transform(const FlowLayer& layer) {
    if (layer.transform == TransformKind::affine)
      kind_ = make_affine<T>(layer.slope, layer.inverse);
    else
      kind_ = spline::make_spline<T>((layer.parameters_of_feature + 1) / 3, layer.bound,
                                     layer.slope, layer.inverse);
  }

  // y of x; its log-derivative is added to ladj.
  void forward(const T* x, int64_t columns, const T* parameters, T* working, int64_t stride, T* y,
               T* ladj) const {
    std::visit(
        [&](const auto& kind) {
          for (int64_t n = 0; n < columns; n += lanes<T>()) {
            const auto [value, log_derivative] =
                evaluate(kind, Vec<T>::loadu(x + n), parameters + n, working + n, stride);
            value.store(y + n);
            (Vec<T>::loadu(ladj + n) + log_derivative).store(ladj + n);
          }
        },
        kind_);
  }

  // In the place of the gradients of y those of x, in that of the parameters their gradients.
  void backward(const T* x, int64_t columns, const T* grad_ladj, T* parameters, T* working,
                int64_t stride, T* grad) const {
    std::visit(
        [&](const auto& kind) {
          for (int64_t n = 0; n < columns; n += lanes<T>())
            differentiate(kind, Vec<T>::loadu(x + n), Vec<T>::loadu(grad + n),
                          Vec<T>::loadu(grad_ladj + n), parameters + n, working + n, stride)
                .store(grad + n);
        },
        kind_);
  }

 private:
  std::variant<Affine<T>, spline::Spline<T>> kind_;
};

}  // namespace pyneural::autoregressive
