// Kalman filter and smoother under autograd.
#include <torch/library.h>

#include "../common/autograd.h"
#include "kalman_check.h"

namespace pyneural::kalman {
namespace {

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Tensors = std::vector<at::Tensor>;

Five call_filter(const at::Tensor& y, const OptionalTensor& offset, const at::Tensor& transition,
                 const at::Tensor& observation, const at::Tensor& process_noise,
                 const at::Tensor& observation_noise, const at::Tensor& initial_mean,
                 const at::Tensor& initial_covariance) {
  using Signature =
      Five(const at::Tensor&, const OptionalTensor&, const at::Tensor&, const at::Tensor&,
           const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&);
  static const auto op = find_op<Signature>("pyneural::kalman_filter");
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(y, offset, transition, observation, process_noise, observation_noise, initial_mean,
                 initial_covariance);
}

Three call_smoother(const at::Tensor& transition, const at::Tensor& process_noise,
                    const at::Tensor& mean, const at::Tensor& covariance,
                    const at::Tensor& predicted_mean, const at::Tensor& predicted_covariance) {
  using Signature = Three(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                          const at::Tensor&, const at::Tensor&, const at::Tensor&);
  static const auto op = find_op<Signature>("pyneural::kalman_smoother");
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(transition, process_noise, mean, covariance, predicted_mean, predicted_covariance);
}

struct Filter : torch::autograd::Function<Filter> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& y,
                               const OptionalTensor& offset, const at::Tensor& transition,
                               const at::Tensor& observation, const at::Tensor& process_noise,
                               const at::Tensor& observation_noise, const at::Tensor& initial_mean,
                               const at::Tensor& initial_covariance) {
    const auto [log_likelihood, mean, covariance, predicted_mean, predicted_covariance] =
        call_filter(y, offset, transition, observation, process_noise, observation_noise,
                    initial_mean, initial_covariance);
    ctx->save_for_backward({y, offset.value_or(at::Tensor()), transition, observation,
                            process_noise, observation_noise, initial_mean, initial_covariance,
                            mean, covariance, predicted_mean, predicted_covariance});
    return {log_likelihood, mean, covariance, predicted_mean, predicted_covariance};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    using Signature =
        Tensors(at::TensorList, const at::Tensor&, const OptionalTensor&, const at::Tensor&,
                const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                const at::Tensor&);
    static const auto op = find_op<Signature>("pyneural::kalman_filter_backward");
    const variable_list s = ctx->get_saved_variables();
    variable_list found = call_backward(op, at::TensorList(grads), s[0], if_defined(s[1]), s[2],
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
    const auto [smoothed_mean, smoothed_covariance, lag] = call_smoother(
        transition, process_noise, mean, covariance, predicted_mean, predicted_covariance);
    ctx->save_for_backward({transition, process_noise, mean, covariance, predicted_mean,
                            predicted_covariance, smoothed_mean, smoothed_covariance});
    return {smoothed_mean, smoothed_covariance, lag};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    using Signature = Tensors(at::TensorList, const at::Tensor&, const at::Tensor&,
                              const at::Tensor&, const at::Tensor&, const at::Tensor&,
                              const at::Tensor&, const at::Tensor&, const at::Tensor&);
    static const auto op = find_op<Signature>("pyneural::kalman_smoother_backward");
    const variable_list s = ctx->get_saved_variables();
    return call_backward(op, at::TensorList(grads), s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
  }
};

Five filter_autograd(const at::Tensor& y, const OptionalTensor& offset,
                     const at::Tensor& transition, const at::Tensor& observation,
                     const at::Tensor& process_noise, const at::Tensor& observation_noise,
                     const at::Tensor& initial_mean, const at::Tensor& initial_covariance) {
  if (!needs_graph(y, offset, transition, observation, process_noise, observation_noise,
                   initial_mean, initial_covariance))
    return call_filter(y, offset, transition, observation, process_noise, observation_noise,
                       initial_mean, initial_covariance);
  const variable_list out = Filter::apply(y, offset, transition, observation, process_noise,
                                          observation_noise, initial_mean, initial_covariance);
  return {out[0], out[1], out[2], out[3], out[4]};
}

Three smoother_autograd(const at::Tensor& transition, const at::Tensor& process_noise,
                        const at::Tensor& mean, const at::Tensor& covariance,
                        const at::Tensor& predicted_mean, const at::Tensor& predicted_covariance) {
  if (!needs_graph(transition, process_noise, mean, covariance, predicted_mean,
                   predicted_covariance))
    return call_smoother(transition, process_noise, mean, covariance, predicted_mean,
                         predicted_covariance);
  const variable_list out = Smoother::apply(transition, process_noise, mean, covariance,
                                            predicted_mean, predicted_covariance);
  return {out[0], out[1], out[2]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_kalman_filter", CheckOp<check_kalman_filter>::call);
  m.def("check_kalman_filter_backward", CheckOp<check_kalman_filter_backward>::call);
  m.def("check_kalman_smoother", CheckOp<check_kalman_smoother>::call);
  m.def("check_kalman_smoother_backward", CheckOp<check_kalman_smoother_backward>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("kalman_filter", filter_autograd);
  m.impl("kalman_smoother", smoother_autograd);
}

}  // namespace pyneural::kalman
