// A whole multilayer perceptron under autograd, in C++ for the same reason as the dense layer, and
// with the same two ways: a kernel for the first backward, torch's own functions for a graph of it.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/find_op.h"
#include "../common/torch_activation.h"
#include "mlp_layers.h"

namespace pyneural::mlp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor call_mlp(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                    std::string_view activation, std::string_view final_activation) {
  static const auto op = find_op<decltype(call_mlp)>("pyneural::mlp");
  return op.call(x, weights, biases, activation, final_activation);
}

std::tuple<at::Tensor, at::Tensor> call_mlp_backward(const at::Tensor& grad_y, const at::Tensor& x,
                                                     at::TensorList weights, at::TensorList biases,
                                                     std::string_view activation,
                                                     std::string_view final_activation,
                                                     std::array<bool, 2> output_mask) {
  static const auto op = find_op<decltype(call_mlp_backward)>("pyneural::mlp_backward");
  return op.call(grad_y, x, weights, biases, activation, final_activation, output_mask);
}

// The network by torch's own functions of inputs = x, *weights, *biases.
at::Tensor torch_mlp(const variable_list& inputs, ActivationKind hidden, ActivationKind final) {
  const size_t layers = inputs.size() / 2;
  at::Tensor a = inputs[0];
  for (size_t l = 0; l < layers; ++l)
    a = torch_activation(l + 1 < layers ? hidden : final,
                         at::linear(a, inputs[1 + l], inputs[1 + layers + l]));
  return a;
}

struct Mlp : torch::autograd::Function<Mlp> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList weights,
                            at::TensorList biases, std::string_view activation,
                            std::string_view final_activation) {
    at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor y = call_mlp(x, weights, biases, activation, final_activation);
    variable_list tensors{x};
    tensors.insert(tensors.end(), weights.begin(), weights.end());
    tensors.insert(tensors.end(), biases.begin(), biases.end());
    ctx->save_for_backward(tensors);
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["final_activation"] = std::string(final_activation);
    return y;
  }

  // Gradients for x, *weights, *biases and, as they are arguments too, nothing for the two names.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const size_t tensors = saved.size(), layers = tensors / 2;
    const std::string activation = ctx->saved_data["activation"].toStringRef(),
                      final_activation = ctx->saved_data["final_activation"].toStringRef();
    variable_list result(tensors + 2);
    if (at::GradMode::is_enabled()) {
      // Leaves of a graph of their own: what they were made of must not be walked through.
      variable_list inputs, needed;
      for (size_t i = 0; i < tensors; ++i) {
        inputs.push_back(ctx->needs_input_grad(i) ? saved[i].view_as(saved[i]) : saved[i]);
        if (ctx->needs_input_grad(i)) needed.push_back(inputs.back());
      }
      ActivationKind hidden{}, final{};
      find_activation(activation, &hidden);
      find_activation(final_activation, &final);
      const variable_list found =
          torch::autograd::grad({torch_mlp(inputs, hidden, final)}, needed, {grads[0]},
                                std::nullopt, /*create_graph=*/true);
      size_t next = 0;
      for (size_t i = 0; i < tensors; ++i)
        if (ctx->needs_input_grad(i)) result[i] = found[next++];
      return result;
    }
    bool any_parameter = false;
    for (size_t i = 1; i < tensors; ++i) any_parameter |= ctx->needs_input_grad(i);
    const at::TensorList all(saved);
    const auto [grad_x, flat] =
        call_mlp_backward(grads[0], saved[0], all.slice(1, layers), all.slice(1 + layers, layers),
                          activation, final_activation, {ctx->needs_input_grad(0), any_parameter});
    if (ctx->needs_input_grad(0)) result[0] = grad_x;
    c10::SymInt offset = 0;  // sizes may be symbols, under torch.compile
    for (size_t l = 0; l < layers; ++l)
      for (const size_t i : {1 + l, 1 + layers + l}) {
        if (ctx->needs_input_grad(i))
          result[i] =
              flat.narrow_symint(0, offset, saved[i].sym_numel()).view_symint(saved[i].sym_sizes());
        offset += saved[i].sym_numel();
      }
    return result;
  }
};

at::Tensor mlp_autograd(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        std::string_view activation, std::string_view final_activation) {
  if (!is_fused(weights))
    return forward_by_layers(x, weights, biases, activation, final_activation);
  const auto needs_gradient = [](const at::Tensor& tensor) { return tensor.requires_grad(); };
  const bool needs_graph =
      at::GradMode::is_enabled() &&
      (needs_gradient(x) || std::any_of(weights.begin(), weights.end(), needs_gradient) ||
       std::any_of(biases.begin(), biases.end(), needs_gradient));
  if (needs_graph) return Mlp::apply(x, weights, biases, activation, final_activation);
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_mlp(x, weights, biases, activation, final_activation);
}

// A fused network in float32: what would be cast is small beside the work.
template <at::DeviceType device>
at::Tensor mlp_autocast(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        std::string_view activation, std::string_view final_activation) {
  if (!is_fused(weights))
    return forward_by_layers(x, weights, biases, activation, final_activation);
  const c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const auto cast = [](const auto& tensors) {
    return at::autocast::cached_cast(at::kFloat, tensors, device);
  };
  return call_mlp(cast(x), cast(weights), cast(biases), activation, final_activation);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("mlp", mlp_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("mlp", mlp_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) { m.impl("mlp", mlp_autocast<at::kCUDA>); }

}  // namespace pyneural::mlp
