// Attention under autograd, in C++ for the same reason as the dense layer, and with the same two
// ways: a kernel for the first backward, torch's own functions for a graph of it. So is the
// gradient of a learned mask, which has as many elements as there are scores anyway.
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "../common/find_op.h"
#include "torch_attention.h"

namespace pyneural::attention {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;

using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                             const OptionalTensor&, const OptionalTensor&, bool, double,
                             std::optional<double>);
using WithLseSignature = std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                            const at::Tensor&,
                                                            const OptionalTensor&,
                                                            const OptionalTensor&, bool, double,
                                                            std::optional<double>);
using BackwardSignature = std::tuple<at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
    const OptionalTensor&, const OptionalTensor&, const at::Tensor&, const at::Tensor&, bool,
    double, std::optional<double>, std::array<bool, 3>);
using KeepSignature = at::Tensor(const at::Tensor&, at::IntArrayRef, double);

OptionalTensor if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const OptionalTensor& mask,
                            const OptionalTensor& seed, bool is_causal, double dropout,
                            std::optional<double> scale) {
    static const auto op = find_op<WithLseSignature>("pyneural::attention_with_lse");
    at::AutoDispatchBelowADInplaceOrView below;
    const auto [out, lse] = op.call(q, k, v, mask, seed, is_causal, dropout, scale);
    ctx->save_for_backward(
        {q, k, v, mask.value_or(at::Tensor()), seed.value_or(at::Tensor()), out, lse});
    ctx->saved_data["is_causal"] = is_causal;
    ctx->saved_data["dropout"] = dropout;
    ctx->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const OptionalTensor mask = if_defined(saved[3]), seed = if_defined(saved[4]);
    const Arguments a{saved[0],
                      saved[1],
                      saved[2],
                      mask,
                      seed,
                      ctx->saved_data["is_causal"].toBool(),
                      ctx->saved_data["dropout"].toDouble(),
                      ctx->saved_data["scale"].toOptional<double>()};
    const bool needs_mask = mask && ctx->needs_input_grad(3);
    const std::array<bool, 4> needed = {ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                        ctx->needs_input_grad(2), needs_mask};
    variable_list result(8);
    if (at::GradMode::is_enabled() || needs_mask) {
      backward_by_torch(a, needed, grads[0], &result);
      return result;
    }
    static const auto op = find_op<BackwardSignature>("pyneural::attention_backward");
    const auto [grad_q, grad_k, grad_v] =
        op.call(grads[0], a.q, a.k, a.v, mask, seed, saved[5], saved[6], a.is_causal, a.dropout,
                a.scale, {needed[0], needed[1], needed[2]});
    if (needed[0]) result[0] = grad_q;
    if (needed[1]) result[1] = grad_k;
    if (needed[2]) result[2] = grad_v;
    return result;
  }

 private:
  static void backward_by_torch(const Arguments& a, const std::array<bool, 4>& needed,
                                const at::Tensor& grad_out, variable_list* result) {
    static const auto keep_op = find_op<KeepSignature>("pyneural::attention_keep");
    const bool with_graph = at::GradMode::is_enabled();
    const at::AutoGradMode of_forward(true);
    // Leaves of a graph of their own: what they were made of must not be walked through.
    variable_list inputs{a.q, a.k, a.v, a.mask.value_or(at::Tensor())}, leaves;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (needed[i]) leaves.push_back(inputs[i] = inputs[i].view_as(inputs[i]));
    const OptionalTensor mask = if_defined(inputs[3]);
    const Arguments with_leaves{inputs[0], inputs[1],   inputs[2], mask,
                                a.seed,    a.is_causal, a.dropout, a.scale};
    const Problem p = check_attention("attention", with_leaves);
    at::Tensor keep;
    if (a.seed) keep = keep_op.call(*a.seed, {p.batch, p.heads, p.queries, p.keys}, p.dropout);
    const at::Tensor out = torch_attention(p, with_leaves, keep);
    const variable_list found =
        torch::autograd::grad({out}, leaves, {grad_out}, std::nullopt, with_graph);
    size_t next = 0;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (needed[i]) (*result)[i] = found[next++];
  }
};

at::Tensor attention_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const OptionalTensor& mask, const OptionalTensor& seed,
                              bool is_causal, double dropout, std::optional<double> scale) {
  const bool needs_graph =
      at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad() ||
                                     (mask && mask->requires_grad()));
  if (needs_graph) return Attention::apply(q, k, v, mask, seed, is_causal, dropout, scale);
  static const auto op = find_op<Signature>("pyneural::attention");
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(q, k, v, mask, seed, is_causal, dropout, scale);
}

// As torch's scaled_dot_product_attention: in the lower precision.
template <at::DeviceType device>
at::Tensor attention_autocast(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const OptionalTensor& mask, const OptionalTensor& seed,
                              bool is_causal, double dropout, std::optional<double> scale) {
  static const auto op = find_op<Signature>("pyneural::attention");
  const c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const at::ScalarType dtype = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const at::Tensor& t) {
    return at::autocast::cached_cast(dtype, t, device);
  };
  OptionalTensor mask_cast = mask;
  if (mask && mask->scalar_type() != at::kBool) mask_cast = cast(*mask);
  return op.call(cast(q), cast(k), cast(v), mask_cast, seed, is_causal, dropout, scale);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("attention", attention_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("attention", attention_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("attention", attention_autocast<at::kCUDA>);
}

}  // namespace pyneural::attention
