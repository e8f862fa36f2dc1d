// The dense layer under autograd, in C++: at small sizes a Function in Python would cost more than
// the layer.
//
// The first backward is a kernel. A graph of it, for second derivatives, is made of torch's own
// functions. torch.func does not let C++ Functions through: ops/dense.py takes plain torch there.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../common/find_op.h"
#include "../common/torch_activation.h"
#include "dense_check.h"
#include "dense_ops.h"

namespace pyneural::dense {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::tuple<at::Tensor, at::Tensor> call_dense_with_preactivation(
    const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
    std::string_view activation) {
  static const auto op =
      find_op<decltype(call_dense_with_preactivation)>("pyneural::dense_with_preactivation");
  return op.call(x, weight, bias, activation);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> call_dense_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& weight,
    const at::Tensor& saved, std::string_view activation, std::array<bool, 3> output_mask) {
  static const auto op = find_op<decltype(call_dense_backward)>("pyneural::dense_backward");
  return op.call(grad_y, x, weight, saved, activation, output_mask);
}

struct Dense : torch::autograd::Function<Dense> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, std::string_view activation) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, z] = call_dense_with_preactivation(x, weight, bias, activation);
    ctx->saved_data["activation"] = std::string(activation);
    ActivationKind kind{};
    find_activation(activation, &kind);
    at::Tensor saved;  // what the derivative of the activation is a function of
    if (kind != ActivationKind::linear) saved = needs_preactivation(kind) ? z : y;
    ctx->save_for_backward({x, weight, bias.value_or(at::Tensor()), saved});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const at::Tensor& grad_y = grads[0];
    const std::string activation = ctx->saved_data["activation"].toStringRef();
    const std::array<bool, 3> mask = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                      bias.defined() && ctx->needs_input_grad(2)};
    if (!at::GradMode::is_enabled()) {
      const at::AutoDispatchBelowADInplaceOrView below;
      const auto [grad_x, grad_weight, grad_bias] = call_dense_backward(
          grad_y, x, weight, saved[3].defined() ? saved[3] : grad_y, activation, mask);
      return {mask[0] ? grad_x : at::Tensor(), mask[1] ? grad_weight : at::Tensor(),
              mask[2] ? grad_bias : at::Tensor(), at::Tensor()};
    }
    // Leaves of a graph of their own: what they were made of must not be walked through.
    ActivationKind kind{};
    find_activation(activation, &kind);
    variable_list inputs;
    for (size_t i = 0; i < 3; ++i)
      if (mask[i]) inputs.push_back(saved[i].view_as(saved[i]));
    size_t next = 0;
    const auto input = [&](size_t i) { return mask[i] ? inputs[next++] : saved[i]; };
    const at::Tensor x_in = input(0), weight_in = input(1), bias_in = input(2);
    const at::Tensor y = torch_activation(
        kind, at::linear(x_in, weight_in,
                         bias.defined() ? std::optional<at::Tensor>(bias_in) : std::nullopt));
    const variable_list found =
        torch::autograd::grad({y}, inputs, {grad_y}, std::nullopt, /*create_graph=*/true);
    variable_list result(4);
    next = 0;
    for (size_t i = 0; i < 3; ++i)
      if (mask[i]) result[i] = found[next++];
    return result;
  }
};

at::Tensor dense_autograd(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, std::string_view activation) {
  const bool needs_graph =
      at::GradMode::is_enabled() &&
      (x.requires_grad() || weight.requires_grad() || (bias && bias->requires_grad()));
  if (needs_graph) return Dense::apply(x, weight, bias, activation);
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_dense(x, weight, bias, activation);
}

// As torch.nn.functional.linear: in the lower precision.
template <at::DeviceType device>
at::Tensor dense_autocast(const at::Tensor& x, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, std::string_view activation) {
  const c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const at::ScalarType dtype = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const at::Tensor& t) {
    return at::autocast::cached_cast(dtype, t, device);
  };
  std::optional<at::Tensor> bias_cast;
  if (bias) bias_cast = cast(*bias);
  return call_dense(cast(x), cast(weight), bias_cast, activation);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("dense", dense_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("dense", dense_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) { m.impl("dense", dense_autocast<at::kCUDA>); }

}  // namespace pyneural::dense
