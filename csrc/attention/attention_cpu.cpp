// Attention on the CPU: the ops, and what of their arguments the kernels want otherwise.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "attention_backward.h"
#include "attention_forward.h"
#include "layout.h"
#include "products_bf16.h"

namespace pyneural::attention {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// body(products) with the way to multiply numbers of q's type.
template <class Body>
void dispatch(const at::Tensor& q, const Body& body) {
  switch (q.scalar_type()) {
    case at::kDouble:
      return body(NumberProducts<double>{});
    case at::kBFloat16:
#if defined(CPU_CAPABILITY_AVX512)
      if (PairProducts::are_supported()) return body(PairProducts{});
#endif
      return body(NumberProducts<at::BFloat16>{});
    case at::kHalf:
      return body(NumberProducts<at::Half>{});
    default:
      return body(NumberProducts<float>{});
  }
}

// Numbers to be added in the type of the sums; rows of keys contiguous or broadcast.
OptionalTensor ready_mask(const OptionalTensor& mask, const at::Tensor& q) {
  if (!mask) return std::nullopt;
  at::Tensor ready = mask->scalar_type() == at::kBool ? *mask : mask->to(sum_type(q));
  if (ready.size(3) != 1 && ready.stride(3) != 1) ready = ready.contiguous();
  return ready;
}

Dropout dropout_of(const Arguments& a) {
  return a.seed ? Dropout(static_cast<uint64_t>(a.seed->item<int64_t>()), a.dropout) : Dropout();
}

// lse may be undefined.
at::Tensor forward(const Problem& p, const Arguments& a, const at::Tensor& lse) {
  at::Tensor out = empty_with_layout(a.q, {p.batch, p.heads, p.queries, p.value_width});
  if (p.batch * p.heads * p.queries == 0) return out;
  const at::Tensor q = with_rows(a.q), k = with_rows(a.k), v = with_rows(a.v);
  const OptionalTensor mask = ready_mask(a.mask, q);
  const Arguments ready{q, k, v, mask, a.seed, a.is_causal, a.dropout, a.scale};
  dispatch(q, [&](auto products) {
    using Products = decltype(products);
    using T = typename Products::T;
    Forward<Products>(p, ready, mask, dropout_of(a), out,
                      lse.defined() ? lse.data_ptr<T>() : nullptr)
        .run();
  });
  return out;
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const OptionalTensor& mask, const OptionalTensor& seed, bool is_causal,
                     double dropout, std::optional<double> scale) {
  const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
  return forward(check_attention("attention", a), a, {});
}

std::tuple<at::Tensor, at::Tensor> attention_with_lse(const at::Tensor& q, const at::Tensor& k,
                                                      const at::Tensor& v,
                                                      const OptionalTensor& mask,
                                                      const OptionalTensor& seed, bool is_causal,
                                                      double dropout, std::optional<double> scale) {
  const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
  const Problem p = check_attention("attention_with_lse", a);
  const at::Tensor lse = at::empty({p.batch, p.heads, p.queries}, q.options().dtype(sum_type(q)));
  return {forward(p, a, lse), lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const OptionalTensor& mask, const OptionalTensor& seed, const at::Tensor& out,
    const at::Tensor& lse, bool is_causal, double dropout, std::optional<double> scale,
    std::array<bool, 3> output_mask) {
  const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
  const Problem p = check_attention_backward(grad_out, a, out, lse);
  const auto wanted = [&](bool is, const at::Tensor& like) {
    return is ? empty_with_layout(like, like.sizes()) : at::Tensor();
  };
  const Gradients grads{wanted(output_mask[0], q), wanted(output_mask[1], k),
                        wanted(output_mask[2], v)};
  const at::Tensor q_rows = with_rows(q), k_rows = with_rows(k), v_rows = with_rows(v),
                   grad_rows = with_rows(grad_out), out_rows = with_rows(out),
                   sums = lse.contiguous();
  const OptionalTensor ready = ready_mask(mask, q);
  const Arguments ready_arguments{q_rows, k_rows, v_rows, ready, seed, is_causal, dropout, scale};
  const bool is_empty = p.batch * p.heads * p.queries * p.keys == 0;
  for (const at::Tensor& grad : {grads.q, grads.k, grads.v})
    if (is_empty && grad.defined()) grad.zero_();
  if (!is_empty)
    dispatch(q, [&](auto products) {
      using Products = decltype(products);
      Backward<Products>(p, ready_arguments, ready, dropout_of(a), grad_rows, out_rows,
                         sums.const_data_ptr<typename Products::T>(), grads)
          .run();
    });
  const auto given = [&](const at::Tensor& grad) {
    return grad.defined() ? grad : at::empty({0}, q.options());
  };
  return {given(grads.q), given(grads.k), given(grads.v)};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("attention", attention);
  m.impl("attention_with_lse", attention_with_lse);
  m.impl("attention_backward", attention_backward);
}

}  // namespace pyneural::attention
