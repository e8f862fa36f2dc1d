// Attention under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "attention_check.h"

namespace pyneural::attention {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const OptionalTensor&, const OptionalTensor&, bool, double,
                                std::optional<double>);
using BackwardSignature = Three(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const at::Tensor&, const OptionalTensor&, const OptionalTensor&,
                                const at::Tensor&, const at::Tensor&, bool, double,
                                std::optional<double>, std::array<bool, 3>);
using MaskBackwardSignature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                         const at::Tensor&, const at::Tensor&,
                                         const OptionalTensor&, bool, double,
                                         std::optional<double>);

at::Tensor call_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const OptionalTensor& mask, const OptionalTensor& seed, bool is_causal,
                          double dropout, std::optional<double> scale) {
  static const auto op = find_op<ForwardSignature<at::Tensor>>("pyneural::attention");
  return op.call(q, k, v, mask, seed, is_causal, dropout, scale);
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const OptionalTensor& mask,
                            const OptionalTensor& seed, bool is_causal, double dropout,
                            std::optional<double> scale) {
    static const auto op = find_op<ForwardSignature<Two>>("pyneural::attention_with_lse");
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [out, lse] = op.call(q, k, v, mask, seed, is_causal, dropout, scale);
    const at::Tensor none;
    ctx->save_for_backward({q, k, v, mask.value_or(none), seed.value_or(none), out, lse});
    ctx->saved_data["is_causal"] = is_causal;
    ctx->saved_data["dropout"] = dropout;
    ctx->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    static const auto op = find_op<BackwardSignature>("pyneural::attention_backward");
    static const auto mask_op = find_op<MaskBackwardSignature>("pyneural::attention_mask_backward");
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
          call_backward(op, grads[0], q, k, v, if_defined(mask), seed, saved[5], saved[6],
                        is_causal, dropout, scale, wanted);
      if (wanted[0]) result[0] = grad_q;
      if (wanted[1]) result[1] = grad_k;
      if (wanted[2]) result[2] = grad_v;
    }
    if (mask.defined() && ctx->needs_input_grad(3))
      result[3] = call_backward(mask_op, grads[0], q, k, v, mask, seed, is_causal, dropout, scale);
    return result;
  }
};

at::Tensor attention_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const OptionalTensor& mask, const OptionalTensor& seed,
                              bool is_causal, double dropout, std::optional<double> scale) {
  if (needs_graph(q, k, v, mask))
    return Attention::apply(q, k, v, mask, seed, is_causal, dropout, scale);
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_attention(q, k, v, mask, seed, is_causal, dropout, scale);
}

// As torch's scaled_dot_product_attention: in the lower precision.
template <at::DeviceType device>
at::Tensor attention_autocast(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const OptionalTensor& mask, const OptionalTensor& seed,
                              bool is_causal, double dropout, std::optional<double> scale) {
  const Autocast cast(device);
  const bool is_float_mask = mask && mask->scalar_type() != at::kBool;
  return call_attention(cast(q), cast(k), cast(v), is_float_mask ? cast(mask) : mask, seed,
                        is_causal, dropout, scale);
}

// The checks as ops, for the kernels that are registered from Python.
void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           const OptionalTensor& mask, const OptionalTensor& seed, bool is_causal, double dropout,
           std::optional<double> scale) {
  check_attention({q, k, v, mask, seed, is_causal, dropout, scale});
}
void check_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v, const OptionalTensor& mask, const OptionalTensor& seed,
                    const at::Tensor& out, const at::Tensor& lse, bool is_causal, double dropout,
                    std::optional<double> scale, std::array<bool, 3>) {
  check_attention_backward(grad_out, {q, k, v, mask, seed, is_causal, dropout, scale}, out, lse);
}
void check_mask_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, const OptionalTensor& mask,
                         const OptionalTensor& seed, bool is_causal, double dropout,
                         std::optional<double> scale) {
  check_attention_mask_backward(grad_out, {q, k, v, mask, seed, is_causal, dropout, scale});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_attention", check);
  m.def("check_attention_with_lse", check);
  m.def("check_attention_backward", check_backward);
  m.def("check_attention_mask_backward", check_mask_backward);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("attention", attention_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("attention", attention_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("attention", attention_autocast<at::kCUDA>);
}

}  // namespace pyneural::attention
