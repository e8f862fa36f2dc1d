// The layer of an autoregressive flow under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {
namespace {

constexpr Op<"pyneural::autoregressive", ForwardSignature<Two>> call_autoregressive;
constexpr Op<"pyneural::autoregressive_with_saved", ForwardSignature<Three>>
    call_autoregressive_with_saved;
constexpr Op<"pyneural::autoregressive_backward", BackwardSignature<Three>>
    call_autoregressive_backward;

struct Autoregressive : torch::autograd::Function<Autoregressive> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x,
                               const OptionalTensor& context, at::TensorList weights,
                               at::TensorList biases, at::TensorList degrees,
                               std::string_view activation, std::string_view transform,
                               double bound, double slope, bool inverse) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, ladj, saved] = call_autoregressive_with_saved(
        x, context, weights, biases, degrees, activation, transform, bound, slope, inverse);
    variable_list tensors{x, context.value_or(at::Tensor()), saved};
    for (const at::TensorList each : {weights, biases, degrees})
      tensors.insert(tensors.end(), each.begin(), each.end());
    ctx->saved_data["layers"] = static_cast<int64_t>(degrees.size());
    ctx->save_for_backward(tensors);
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["transform"] = std::string(transform);
    ctx->saved_data["bound"] = bound;
    ctx->saved_data["slope"] = slope;
    ctx->saved_data["inverse"] = inverse;
    return {y, ladj};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    constexpr size_t kBefore = 3;  // tensors saved before the parameters
    const variable_list saved = ctx->get_saved_variables();
    const auto layers = static_cast<size_t>(ctx->saved_data["layers"].toInt());
    const size_t parameters = saved.size() - kBefore - layers, matrices = parameters / 2;
    const at::TensorList all(saved), weights = all.slice(kBefore, matrices),
                                     biases = all.slice(kBefore + matrices, matrices),
                                     degrees = all.slice(kBefore + parameters);
    // needs_input_grad counts the tensors that are given.
    const bool has_context = saved[1].defined();
    std::array<bool, 3> mask = {ctx->needs_input_grad(0), has_context && ctx->needs_input_grad(1),
                                false};
    const auto needs = [&](size_t parameter) {
      return ctx->needs_input_grad(1 + has_context + parameter);
    };
    for (size_t i = 0; i < parameters; ++i) mask[2] |= needs(i);
    const auto [grad_x, grad_context, flat] = call_backward(
        call_autoregressive_backward, grads[0], grads[1], saved[0], if_defined(saved[1]), weights,
        biases, degrees, saved[2], ctx->saved_data["activation"].toStringRef(),
        ctx->saved_data["transform"].toStringRef(), ctx->saved_data["bound"].toDouble(),
        ctx->saved_data["slope"].toDouble(), ctx->saved_data["inverse"].toBool(), mask);
    const size_t others = layers + 5;  // arguments that have no gradient
    variable_list result(2 + parameters + others);
    if (mask[0]) result[0] = grad_x;
    if (mask[1]) result[1] = grad_context;
    c10::SymInt offset = 0;  // sizes may be symbols, under torch.compile
    for (size_t l = 0; l < matrices; ++l)
      for (const size_t i : {l, matrices + l}) {
        const at::Tensor& parameter = saved[kBefore + i];
        if (needs(i))
          result[2 + i] = flat.narrow_symint(0, offset, parameter.sym_numel())
                              .view_symint(parameter.sym_sizes());
        offset += parameter.sym_numel();
      }
    return result;
  }
};

// In float32: what would be cast is small beside the work, and a flow is inverted.
template <at::DeviceType device>
Two autoregressive_autocast(const at::Tensor& x, const OptionalTensor& context,
                            at::TensorList weights, at::TensorList biases, at::TensorList degrees,
                            std::string_view activation, std::string_view transform, double bound,
                            double slope, bool inverse) {
  const Autocast cast(device, at::kFloat);
  return call_autoregressive(cast(x), cast(context), cast(weights), cast(biases), degrees,
                             activation, transform, bound, slope, inverse);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_autoregressive", FlatOp<check_autoregressive, ForwardSignature<void>>::call);
  m.def("check_autoregressive_with_saved",
        FlatOp<check_autoregressive, ForwardSignature<void>>::call);
  m.def("check_autoregressive_backward",
        FlatOp<check_autoregressive_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("autoregressive", AutogradOp<Autoregressive, call_autoregressive>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("autoregressive", autoregressive_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("autoregressive", autoregressive_autocast<at::kCUDA>);
}

}  // namespace pyneural::autoregressive
