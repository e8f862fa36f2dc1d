// Continuous flows under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "continuous_flow_check.h"

namespace pyneural::continuous_flow {
namespace {

constexpr Op<"pyneural::continuous_flow", ForwardSignature<Two>> call_continuous_flow;
constexpr Op<"pyneural::continuous_flow_backward", BackwardSignature<Three>>
    call_continuous_flow_backward;

struct ContinuousFlow : torch::autograd::Function<ContinuousFlow> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x,
                               const OptionalTensor& context, at::TensorList weights,
                               at::TensorList biases, at::ArrayRef<double> frequencies,
                               std::string_view activation, double start, double end, double rtol,
                               double atol, int64_t steps, int64_t max_steps, bool with_ladj) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, ladj] =
        call_continuous_flow(x, context, weights, biases, frequencies, activation, start, end, rtol,
                             atol, steps, max_steps, with_ladj);
    variable_list tensors{x, context.value_or(at::Tensor())};
    tensors.insert(tensors.end(), weights.begin(), weights.end());
    tensors.insert(tensors.end(), biases.begin(), biases.end());
    ctx->save_for_backward(tensors);
    ctx->saved_data["frequencies"] = frequencies.vec();
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["start"] = start;
    ctx->saved_data["end"] = end;
    ctx->saved_data["rtol"] = rtol;
    ctx->saved_data["atol"] = atol;
    ctx->saved_data["steps"] = steps;
    ctx->saved_data["max_steps"] = max_steps;
    ctx->saved_data["with_ladj"] = with_ladj;
    return {y, ladj};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    constexpr size_t kBefore = 2;  // tensors saved before the parameters
    const variable_list saved = ctx->get_saved_variables();
    const size_t parameters = saved.size() - kBefore, layers = parameters / 2;
    const at::TensorList all(saved), weights = all.slice(kBefore, layers),
                                     biases = all.slice(kBefore + layers, layers);
    // needs_input_grad counts the tensors that are given.
    const bool has_context = saved[1].defined();
    std::array<bool, 3> mask = {ctx->needs_input_grad(0), has_context && ctx->needs_input_grad(1),
                                false};
    const auto needs = [&](size_t parameter) {
      return ctx->needs_input_grad(1 + has_context + parameter);
    };
    for (size_t i = 0; i < parameters; ++i) mask[2] |= needs(i);
    const auto option = [&](const char* name) { return ctx->saved_data[name]; };
    const std::vector<double> frequencies = option("frequencies").toDoubleVector();
    const auto [grad_x, grad_context, flat] = call_backward(
        call_continuous_flow_backward, grads[0], grads[1], saved[0], if_defined(saved[1]), weights,
        biases, at::ArrayRef<double>(frequencies), ctx->saved_data["activation"].toStringRef(),
        option("start").toDouble(), option("end").toDouble(), option("rtol").toDouble(),
        option("atol").toDouble(), option("steps").toInt(), option("max_steps").toInt(),
        option("with_ladj").toBool(), mask);
    constexpr size_t kOthers = 9;  // arguments that have no gradient
    variable_list result(2 + parameters + kOthers);
    if (mask[0]) result[0] = grad_x;
    if (mask[1]) result[1] = grad_context;
    c10::SymInt offset = 0;  // sizes may be symbols, under torch.compile
    for (size_t l = 0; l < layers; ++l)
      for (const size_t i : {l, layers + l}) {
        const at::Tensor& parameter = saved[kBefore + i];
        if (needs(i))
          result[2 + i] = flat.narrow_symint(0, offset, parameter.sym_numel())
                              .view_symint(parameter.sym_sizes());
        offset += parameter.sym_numel();
      }
    return result;
  }
};

// In float32, as a solution is accurate to the tolerances.
template <at::DeviceType device>
Two continuous_flow_autocast(const at::Tensor& x, const OptionalTensor& context,
                             at::TensorList weights, at::TensorList biases,
                             at::ArrayRef<double> frequencies, std::string_view activation,
                             double start, double end, double rtol, double atol, int64_t steps,
                             int64_t max_steps, bool with_ladj) {
  const Autocast cast(device, at::kFloat);
  return call_continuous_flow(cast(x), cast(context), cast(weights), cast(biases), frequencies,
                              activation, start, end, rtol, atol, steps, max_steps, with_ladj);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_continuous_flow", FlatOp<check_continuous_flow, ForwardSignature<void>>::call);
  m.def("check_continuous_flow_backward",
        FlatOp<check_continuous_flow_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("continuous_flow", AutogradOp<ContinuousFlow, call_continuous_flow>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("continuous_flow", continuous_flow_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("continuous_flow", continuous_flow_autocast<at::kCUDA>);
}

}  // namespace pyneural::continuous_flow
