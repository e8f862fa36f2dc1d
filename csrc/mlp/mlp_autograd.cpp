// A whole multilayer perceptron under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "mlp_layers.h"

namespace pyneural::mlp {
namespace {

constexpr Op<"pyneural::mlp", ForwardSignature<at::Tensor>> call_mlp;
constexpr Op<"pyneural::mlp_backward", BackwardSignature<Two>> call_mlp_backward;

struct Mlp : torch::autograd::Function<Mlp> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList weights,
                            at::TensorList biases, std::string_view activation,
                            std::string_view final_activation) {
    const at::AutoDispatchBelowADInplaceOrView below;
    at::Tensor y = call_mlp(x, weights, biases, activation, final_activation);
    variable_list tensors{kept(x)};
    for (const at::TensorList parameters : {weights, biases})
      for (const at::Tensor& parameter : parameters) tensors.push_back(kept(parameter));
    ctx->save_for_backward(std::move(tensors));
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["final_activation"] = std::string(final_activation);
    return y;
  }

  // Gradients for x, *weights, *biases and, as they are arguments too, nothing for the two names.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const size_t tensors = saved.size(), layers = tensors / 2;
    const at::TensorList all(saved), weights = all.slice(1, layers),
                                     biases = all.slice(1 + layers, layers);
    const std::string activation = ctx->saved_data["activation"].toStringRef(),
                      final_activation = ctx->saved_data["final_activation"].toStringRef();
    bool any_parameter = false;
    for (size_t i = 1; i < tensors; ++i) any_parameter |= ctx->needs_input_grad(i);
    const std::array<bool, 2> mask = {ctx->needs_input_grad(0), any_parameter};
    const auto [grad_x, flat] = call_backward(call_mlp_backward, grads[0], saved[0], weights,
                                              biases, activation, final_activation, mask);
    variable_list result(tensors + 2);
    if (mask[0]) result[0] = grad_x;
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
    return forward_by_layers({x, weights, biases, activation, final_activation});
  return AutogradOp<Mlp, call_mlp>::call(x, weights, biases, activation, final_activation);
}

// A fused network in float32: what would be cast is small beside the work.
template <at::DeviceType device>
at::Tensor mlp_autocast(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                        std::string_view activation, std::string_view final_activation) {
  if (!is_fused(weights))
    return forward_by_layers({x, weights, biases, activation, final_activation});
  const Autocast cast(device, at::kFloat);
  return call_mlp(cast(x), cast(weights), cast(biases), activation, final_activation);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_mlp", FlatOp<check_mlp, ForwardSignature<void>>::call);
  m.def("check_mlp_backward", FlatOp<check_mlp_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("mlp", mlp_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("mlp", mlp_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) { m.impl("mlp", mlp_autocast<at::kCUDA>); }

}  // namespace pyneural::mlp
