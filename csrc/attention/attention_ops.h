// The ops around the kernels of a device: checks, and memory for the results.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "attention_check.h"

namespace pyneural::attention {

// A new tensor that lies in memory as another does: projections come with the heads inside a row,
// [N, L, H E], and a result that does too needs no copy on its way back. pyneural/ops/attention.py
// has the same rule for its fake kernels.
inline at::Tensor empty_with_layout(const at::Tensor& like, at::IntArrayRef shape) {
  if (like.stride(1) >= like.stride(2)) return at::empty(shape, like.options());
  return at::empty({shape[0], shape[2], shape[1], shape[3]}, like.options()).transpose(1, 2);
}

// With contiguous rows, as the kernels expect.
inline at::Tensor with_rows(const at::Tensor& t) {
  return t.stride(3) == 1 || t.size(3) <= 1 ? t : t.contiguous();
}

// Kernels has
//   forward(problem, arguments, out, lse)                      lse may be undefined
//   backward(problem, arguments, grad_out, out, lse, grads)    of q, k and v, where defined
// which are called where there is something to compute. Rows of grad_out and out are contiguous.
template <class Kernels>
struct Ops {
  static at::Tensor attention(const Arguments& a) { return forward(check_attention(a), a, {}); }

  static Two attention_with_lse(const Arguments& a) {
    const Problem p = check_attention(a);
    const at::Tensor lse =
        at::empty({p.batch, p.heads, p.queries}, a.q.options().dtype(accumulator_dtype(a.q)));
    return {forward(p, a, lse), lse};
  }

  static Three attention_backward(const BackwardArguments& b) {
    const Problem p = check_attention_backward(b);
    // Without elements of the values the weights have no say.
    const bool is_empty = b.out.numel() == 0 || p.keys == 0;
    const at::Tensor inputs[] = {b.q, b.k, b.v};
    std::array<at::Tensor, 3> grads;
    for (size_t i = 0; i < 3; ++i) {
      if (b.output_mask[i]) grads[i] = empty_with_layout(inputs[i], inputs[i].sizes());
      if (b.output_mask[i] && is_empty) grads[i].zero_();
    }
    if (!is_empty)
      Kernels::backward(p, b.forward(), with_rows(b.grad_out), with_rows(b.out), b.lse.contiguous(),
                        grads);
    for (at::Tensor& grad : grads)
      if (!grad.defined()) grad = at::empty({0}, b.q.options());
    return {grads[0], grads[1], grads[2]};
  }

  static void add_to(torch::Library& library) {
    library.impl("attention", FlatOp<attention, ForwardSignature<at::Tensor>>::call);
    library.impl("attention_with_lse", FlatOp<attention_with_lse, ForwardSignature<Two>>::call);
    library.impl("attention_backward", FlatOp<attention_backward, BackwardSignature<Three>>::call);
  }

 private:
  static at::Tensor forward(const Problem& p, const Arguments& a, const at::Tensor& lse) {
    at::Tensor out = empty_with_layout(a.q, {p.batch, p.heads, p.queries, p.value_width});
    const bool has_rows = lse.defined() && lse.numel() > 0;
    if (out.numel() == 0 && has_rows && p.width == 0 && !a.mask && !p.is_causal)
      lse.fill_(std::log(static_cast<double>(p.keys)));  // of any number of keys, which are all 0
    else if (out.numel() > 0 || has_rows)
      Kernels::forward(p, a, out, lse);
    return out;
  }
};

}  // namespace pyneural::attention
