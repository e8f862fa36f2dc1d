// Kalman filter and smoother under autograd.
#include <torch/library.h>

#include "../common/autograd.h"
#include "kalman_check.h"

namespace pyneural::kalman {
namespace {

constexpr Op<"pyneural::kalman_filter", FilterSignature<Five>> call_filter;
constexpr Op<"pyneural::kalman_filter_backward", FilterBackwardSignature<Tensors>>
    call_filter_backward;
constexpr Op<"pyneural::kalman_smoother", SmootherSignature<Three>> call_smoother;
constexpr Op<"pyneural::kalman_smoother_backward", SmootherBackwardSignature<Tensors>>
    call_smoother_backward;

struct Filter : torch::autograd::Function<Filter> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& y,
                               const OptionalTensor& offset, const at::Tensor& transition,
                               const at::Tensor& observation, const at::Tensor& process_noise,
                               const at::Tensor& observation_noise, const at::Tensor& initial_mean,
                               const at::Tensor& initial_covariance) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [log_likelihood, mean, covariance, predicted_mean, predicted_covariance] =
        call_filter(y, offset, transition, observation, process_noise, observation_noise,
                    initial_mean, initial_covariance);
    ctx->save_for_backward({y, offset.value_or(at::Tensor()), transition, observation,
                            process_noise, observation_noise, initial_mean, initial_covariance,
                            mean, covariance, predicted_mean, predicted_covariance});
    return {log_likelihood, mean, covariance, predicted_mean, predicted_covariance};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    variable_list found =
        call_backward(call_filter_backward, at::TensorList(grads), s[0], if_defined(s[1]), s[2],
                      s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11]);
    if (!s[1].defined()) found[1] = at::Tensor();
    return found;
  }
};

struct Smoother : torch::autograd::Function<Smoother> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& transition,
                               const at::Tensor& process_noise, const at::Tensor& mean,
                               const at::Tensor& covariance, const at::Tensor& predicted_mean,
                               const at::Tensor& predicted_covariance) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [smoothed_mean, smoothed_covariance, lag] = call_smoother(
        transition, process_noise, mean, covariance, predicted_mean, predicted_covariance);
    ctx->save_for_backward({transition, process_noise, mean, covariance, predicted_mean,
                            predicted_covariance, smoothed_mean, smoothed_covariance});
    return {smoothed_mean, smoothed_covariance, lag};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list s = ctx->get_saved_variables();
    return call_backward(call_smoother_backward, at::TensorList(grads), s[0], s[1], s[2], s[3],
                         s[4], s[5], s[6], s[7]);
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_kalman_filter", FlatOp<check_kalman_filter, FilterSignature<void>>::call);
  m.def("check_kalman_filter_backward",
        FlatOp<check_kalman_filter_backward, FilterBackwardSignature<void>>::call);
  m.def("check_kalman_smoother", FlatOp<check_kalman_smoother, SmootherSignature<void>>::call);
  m.def("check_kalman_smoother_backward",
        FlatOp<check_kalman_smoother_backward, SmootherBackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("kalman_filter", AutogradOp<Filter, call_filter>::call);
  m.impl("kalman_smoother", AutogradOp<Smoother, call_smoother>::call);
}

}  // namespace pyneural::kalman
