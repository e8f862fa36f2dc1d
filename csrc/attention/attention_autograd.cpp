// Attention under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "attention_check.h"

namespace pyneural::attention {
namespace {

constexpr Op<"pyneural::attention", ForwardSignature<at::Tensor>> call_attention;
constexpr Op<"pyneural::attention_with_lse", ForwardSignature<Two>> call_with_lse;
constexpr Op<"pyneural::attention_backward", BackwardSignature<Three>> call_attention_backward;
constexpr Op<"pyneural::attention_mask_backward", MaskBackwardSignature<at::Tensor>>
    call_mask_backward;

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const OptionalTensor& mask,
                            const OptionalTensor& seed, bool is_causal, double dropout,
                            std::optional<double> scale) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [out, lse] = call_with_lse(q, k, v, mask, seed, is_causal, dropout, scale);
    const at::Tensor none;
    ctx->save_for_backward({q, k, v, mask.value_or(none), seed.value_or(none), out, lse});
    ctx->saved_data["is_causal"] = is_causal;
    ctx->saved_data["dropout"] = dropout;
    ctx->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &mask = saved[3];
    const OptionalTensor seed = if_defined(saved[4]);
    const bool is_causal = ctx->saved_data["is_causal"].toBool();
    const double dropout = ctx->saved_data["dropout"].toDouble();
    const auto scale = ctx->saved_data["scale"].toOptional<double>();
    const std::array<bool, 3> wanted = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                        ctx->needs_input_grad(2)};
    variable_list result(8);
    if (wanted[0] || wanted[1] || wanted[2]) {
      const auto [grad_q, grad_k, grad_v] =
          call_backward(call_attention_backward, grads[0], q, k, v, if_defined(mask), seed,
                        saved[5], saved[6], is_causal, dropout, scale, wanted);
      if (wanted[0]) result[0] = grad_q;
      if (wanted[1]) result[1] = grad_k;
      if (wanted[2]) result[2] = grad_v;
    }
    if (mask.defined() && ctx->needs_input_grad(3))
      result[3] = call_backward(call_mask_backward, grads[0], q, k, v, mask, seed, is_causal,
                                dropout, scale);
    return result;
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_attention", FlatOp<check_attention, ForwardSignature<void>>::call);
  m.def("check_attention_with_lse", FlatOp<check_attention, ForwardSignature<void>>::call);
  m.def("check_attention_backward",
        FlatOp<check_attention_backward, BackwardSignature<void>>::call);
  m.def("check_attention_mask_backward",
        FlatOp<check_attention_mask_backward, MaskBackwardSignature<void>>::call);
  m.def("check_attention_keep", check_attention_keep);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("attention", AutogradOp<Attention, call_attention>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("attention", AutocastOp<call_attention, at::kCPU>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("attention", AutocastOp<call_attention, at::kCUDA>::call);
}

}  // namespace pyneural::attention
