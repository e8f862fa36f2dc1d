// The ops around the kernels of a device: checks, and memory for the results.
#pragma once

#include <torch/library.h>

#include <array>

#include "attention_check.h"
#include "layout.h"

namespace pyneural::attention {

// Kernels has
//   forward(problem, arguments, out, lse)                      lse may be undefined
//   backward(problem, arguments, grad_out, out, lse, grads)    of q, k and v, where defined
// which are called where there is something to compute. Rows of grad_out and out are contiguous.
template <class Kernels>
struct Ops {
  using OptionalTensor = std::optional<at::Tensor>;

  static at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const OptionalTensor& mask, const OptionalTensor& seed,
                              bool is_causal, double dropout, std::optional<double> scale) {
    const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
    return forward(check_attention(a), a, {});
  }

  static std::tuple<at::Tensor, at::Tensor> attention_with_lse(
      const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const OptionalTensor& mask,
      const OptionalTensor& seed, bool is_causal, double dropout, std::optional<double> scale) {
    const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
    const Problem p = check_attention(a);
    const at::Tensor lse =
        at::empty({p.batch, p.heads, p.queries}, q.options().dtype(accumulator_dtype(q)));
    return {forward(p, a, lse), lse};
  }

  static std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
      const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
      const OptionalTensor& mask, const OptionalTensor& seed, const at::Tensor& out,
      const at::Tensor& lse, bool is_causal, double dropout, std::optional<double> scale,
      std::array<bool, 3> output_mask) {
    const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
    const Problem p = check_attention_backward(grad_out, a, out, lse);
    const bool is_empty = p.batch * p.heads * p.queries * p.keys == 0;
    const at::Tensor inputs[] = {q, k, v};
    std::array<at::Tensor, 3> grads;
    for (size_t i = 0; i < 3; ++i) {
      if (output_mask[i]) grads[i] = empty_with_layout(inputs[i], inputs[i].sizes());
      if (output_mask[i] && is_empty) grads[i].zero_();
    }
    if (!is_empty)
      Kernels::backward(p, a, with_rows(grad_out), with_rows(out), lse.contiguous(), grads);
    for (at::Tensor& grad : grads)
      if (!grad.defined()) grad = at::empty({0}, q.options());
    return {grads[0], grads[1], grads[2]};
  }

  static void add_to(torch::Library& library) {
    library.impl("attention", attention);
    library.impl("attention_with_lse", attention_with_lse);
    library.impl("attention_backward", attention_backward);
  }

 private:
  static at::Tensor forward(const Problem& p, const Arguments& a, const at::Tensor& lse) {
    at::Tensor out = empty_with_layout(a.q, {p.batch, p.heads, p.queries, p.value_width});
    if (p.batch * p.heads * p.queries > 0) Kernels::forward(p, a, out, lse);
    return out;
  }
};

}  // namespace pyneural::attention
