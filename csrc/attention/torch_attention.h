// Attention by torch's own functions, differentiable, on any device: for the graphs of second
// derivatives, and for devices that have no kernel of ours. It holds all scores at once.
#pragma once

#include <ATen/ATen.h>

#include <limits>

#include "attention_check.h"

namespace pyneural::attention {

// 1 / (1 - p) where dropout keeps a weight, else 0, [N, H, L, S], by `attention_keep`; undefined
// without dropout.
inline at::Tensor keep_factors(const Problem& p, const at::Tensor& keep, at::ScalarType type) {
  return keep.to(type).mul(p.dropout < 1 ? 1 / (1 - p.dropout) : 0.0);
}

// Which keys take part, of a shape that broadcasts to the scores; undefined for all.
inline at::Tensor allowed_keys(const Problem& p, const Arguments& a) {
  at::Tensor allowed;
  if (a.mask && a.mask->scalar_type() == at::kBool) allowed = *a.mask;
  if (p.is_causal) {
    const at::Tensor lower = at::ones({p.queries, p.keys}, a.q.options().dtype(at::kBool)).tril();
    allowed = allowed.defined() ? allowed.logical_and(lower) : lower;
  }
  return allowed;
}

// One head of keys for each of the queries'.
inline at::Tensor for_all_heads(const Problem& p, const at::Tensor& t) {
  return p.group == 1 ? t : t.repeat_interleave(p.group, 1);
}

// scale q k^T with the mask, [N, H, L, S], -inf where a key takes no part.
inline at::Tensor torch_scores(const Problem& p, const Arguments& a) {
  at::Tensor scores = at::matmul(a.q * p.scale, for_all_heads(p, a.k).transpose(2, 3));
  if (a.mask && a.mask->scalar_type() != at::kBool) scores = scores + a.mask->to(a.q.scalar_type());
  const at::Tensor allowed = allowed_keys(p, a);
  if (allowed.defined())
    scores = scores.masked_fill(allowed.logical_not(), -std::numeric_limits<double>::infinity());
  return scores;
}

// Rows without a key are 0.
inline at::Tensor torch_attention(const Problem& p, const Arguments& a, const at::Tensor& keep) {
  at::Tensor weights = at::_safe_softmax(torch_scores(p, a), 3);
  if (keep.defined()) weights = weights * keep_factors(p, keep, weights.scalar_type());
  return at::matmul(weights, for_all_heads(p, a.v));
}

}  // namespace pyneural::attention
