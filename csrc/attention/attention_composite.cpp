// Attention by torch's own functions, for devices that have no kernel of ours.
#include <torch/library.h>

#include "../common/dropout.h"
#include "../common/find_op.h"
#include "layout.h"
#include "torch_attention.h"

namespace pyneural::attention {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

at::Tensor keep_of(const Problem& p, const Arguments& a) {
  static const auto op =
      find_op<at::Tensor(const at::Tensor&, at::IntArrayRef, double)>("pyneural::attention_keep");
  if (!a.seed) return {};
  return op.call(*a.seed, {p.batch, p.heads, p.queries, p.keys}, p.dropout);
}

// log sum exp of the scores, [N, H, L]; infinite for a row without a key, whose weights
// exp(score - lse) are then 0.
at::Tensor log_sums(const at::Tensor& scores, at::ScalarType type) {
  const double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor lse = scores.to(type).logsumexp(3);
  return lse.masked_fill(lse == -infinity, infinity);
}

at::Tensor in_layout_of(const at::Tensor& like, const at::Tensor& t) {
  return empty_with_layout(like, t.sizes()).copy_(t);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const OptionalTensor& mask, const OptionalTensor& seed, bool is_causal,
                     double dropout, std::optional<double> scale) {
  const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
  const Problem p = check_attention("attention", a);
  return in_layout_of(q, torch_attention(p, a, keep_of(p, a)));
}

std::tuple<at::Tensor, at::Tensor> attention_with_lse(const at::Tensor& q, const at::Tensor& k,
                                                      const at::Tensor& v,
                                                      const OptionalTensor& mask,
                                                      const OptionalTensor& seed, bool is_causal,
                                                      double dropout, std::optional<double> scale) {
  const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
  const Problem p = check_attention("attention_with_lse", a);
  return {in_layout_of(q, torch_attention(p, a, keep_of(p, a))),
          log_sums(torch_scores(p, a), accumulator_type(q))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const OptionalTensor& mask, const OptionalTensor& seed, const at::Tensor& out,
    const at::Tensor& lse, bool is_causal, double dropout, std::optional<double> scale,
    std::array<bool, 3> output_mask) {
  const Arguments a{q, k, v, mask, seed, is_causal, dropout, scale};
  const Problem p = check_attention_backward(grad_out, a, out, lse);
  const at::ScalarType type = q.scalar_type();
  const at::Tensor weights = (torch_scores(p, a) - lse.unsqueeze(3)).exp().to(type);
  const at::Tensor none = at::empty({0}, q.options());
  // Of the queries' heads that share one of the keys.
  const auto of_key_heads = [&](const at::Tensor& t) {
    return p.group == 1 ? t : t.unflatten(1, {p.key_heads(), p.group}).sum(2);
  };
  at::Tensor kept = weights, grad_weights = at::matmul(grad_out, for_all_heads(p, v).mT());
  if (seed) {
    const at::Tensor factors = keep_factors(p, keep_of(p, a), type);
    kept = weights * factors;
    grad_weights = grad_weights * factors;
  }
  const at::Tensor delta = (grad_out * out).sum(3, /*keepdim=*/true);
  const at::Tensor grad_scores = weights * (grad_weights - delta) * p.scale;
  return {output_mask[0] ? in_layout_of(q, at::matmul(grad_scores, for_all_heads(p, k))) : none,
          output_mask[1] ? in_layout_of(k, of_key_heads(at::matmul(grad_scores.mT(), q))) : none,
          output_mask[2] ? in_layout_of(v, of_key_heads(at::matmul(kept.mT(), grad_out))) : none};
}

// Which weights [N, H, L, S] dropout keeps; drawn on the CPU.
at::Tensor attention_keep(const at::Tensor& seed, at::IntArrayRef shape, double p) {
  TORCH_CHECK_VALUE(shape.size() == 4, "attention_keep: shape: expected [N, H, L, S], got ", shape,
                    "; give the four sizes");
  TORCH_CHECK_VALUE(seed.scalar_type() == at::kLong && seed.numel() == 1,
                    "attention_keep: seed: expected one int64, got ", seed.sizes(), " of ",
                    seed.scalar_type(), "; draw it with torch.randint");
  at::Tensor keep = at::empty(shape, at::TensorOptions(at::kBool));
  const Dropout dropout(static_cast<uint64_t>(seed.item<int64_t>()), p);
  const int64_t rows = shape[0] * shape[1] * shape[2], keys = shape[3];
  bool* to = keep.mutable_data_ptr<bool>();
  for (int64_t row = 0; row < rows; ++row, to += keys)
    for (int64_t first = 0; first < keys; first += kDropoutBlock)
      for (int counter = 0; counter < kDropoutCounters; ++counter) {
        uint32_t words[4];
        dropout.draw(row, first / kDropoutBlock, counter, words);
        for (int w = 0; w < 4; ++w) {
          const int64_t key = first + w * kDropoutCounters + counter;
          if (key < keys) to[key] = dropout.keeps(words[w]);
        }
      }
  return keep.to(seed.device());
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("attention", attention);
  m.impl("attention_with_lse", attention_with_lse);
  m.impl("attention_backward", attention_backward);
  m.impl("attention_keep", attention_keep);
}

}  // namespace pyneural::attention
