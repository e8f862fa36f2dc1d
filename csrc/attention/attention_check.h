// Checks of the arguments of the attention ops, the same on every device, before memory is touched.
#pragma once

#include <array>
#include <cmath>
#include <optional>

#include "../common/checks.h"
#include "../common/dispatch.h"

namespace pyneural::attention {

// The sizes of a call; letters as in notation.h.
struct Problem {
  int64_t batch = 0, heads = 0, group = 1, queries = 0, keys = 0, width = 0, value_width = 0;
  bool is_causal = false;
  double dropout = 0, scale = 1;

  int64_t key_heads() const { return heads / group; }
};

// The arguments of a call; seed is given if and only if dropout > 0.
struct Arguments {
  const at::Tensor &q, &k, &v;  // [N, H, L, E], [N, H / G, S, E], [N, H / G, S, Ev]
  const OptionalTensor& mask;   // [N or 1, H or 1, L or 1, S or 1], None for all
  const OptionalTensor& seed;   // [1], int64
  bool is_causal;
  double dropout;
  std::optional<double> scale;  // of q k^T; E^-1/2 if it is not given
};
// out [N, H, L, Ev] and lse [N, H, L] are those of the forward.
struct BackwardArguments {
  const at::Tensor &grad_out, &q, &k, &v;
  const OptionalTensor &mask, &seed;
  const at::Tensor &out, &lse;
  bool is_causal;
  double dropout;
  std::optional<double> scale;
  std::array<bool, 3> output_mask;

  Arguments forward() const { return {q, k, v, mask, seed, is_causal, dropout, scale}; }
};
struct MaskBackwardArguments {
  const at::Tensor& grad_out;
  Arguments forward;
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                const OptionalTensor&, const OptionalTensor&, bool, double,
                                std::optional<double>);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const at::Tensor&, const OptionalTensor&, const OptionalTensor&,
                                 const at::Tensor&, const at::Tensor&, bool, double,
                                 std::optional<double>, std::array<bool, 3>);
template <class Result>
using MaskBackwardSignature = Result(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                     const at::Tensor&, const OptionalTensor&,
                                     const OptionalTensor&, bool, double, std::optional<double>);

namespace detail {

inline void check_like_q(const char* op, const char* name, const at::Tensor& tensor,
                         at::IntArrayRef shape, const at::Tensor& q) {
  check_like({op, name}, tensor, shape, {"q", q}, "it must fit q, ", q.sizes(), ", and the others");
}

inline void check_mask(const char* op, const at::Tensor& mask, at::IntArrayRef scores,
                       const at::Tensor& q) {
  bool broadcasts = mask.dim() == 4;
  for (int64_t d = 0; broadcasts && d < 4; ++d)
    broadcasts = mask.size(d) == 1 || mask.size(d) == scores[d];
  TORCH_CHECK_VALUE(broadcasts, op, ": mask: expected a shape that broadcasts to ", scores,
                    ", [N, H, L, S], got ", mask.sizes(),
                    "; a dimension must be 1 or that of the scores");
  TORCH_CHECK_VALUE(mask.scalar_type() == at::kBool || mask.scalar_type() == q.scalar_type() ||
                        (mask.scalar_type() == at::kFloat && q.scalar_type() != at::kDouble),
                    op, ": mask: expected bool (True takes part), or ", q.scalar_type(),
                    " like q to be added, got ", mask.scalar_type(),
                    "; convert it with .bool() or .to(q.dtype)");
  TORCH_CHECK_VALUE(mask.device() == q.device(), op, ": mask: expected ", q.device(),
                    " like q, got ", mask.device(), "; move it with .to(q.device)");
}

inline void check_probability(const char* op, double p) {
  TORCH_CHECK_VALUE(p >= 0 && p <= 1, op, ": dropout_p: expected 0 to 1, got ", p,
                    "; it is the probability that a weight becomes 0");
}

inline void check_seed(const char* op, const at::Tensor& seed) {
  check_given({op, "seed"}, seed);
  TORCH_CHECK_VALUE(seed.scalar_type() == at::kLong && seed.numel() == 1, op,
                    ": seed: expected one int64, got ", seed.sizes(), " of ", seed.scalar_type(),
                    "; draw it with torch.randint");
}

inline Problem check(const char* op, const Arguments& a) {
  const at::Tensor &q = a.q, &k = a.k, &v = a.v;
  check_dtype({op, "q"}, q, Precisions::with_reduced, "convert it with .float()");
  const auto check_four = [&](const char* name, const at::Tensor& t, const char* shape) {
    TORCH_CHECK_VALUE(t.dim() == 4, op, ": ", name, ": expected ", shape, ", got ", t.sizes(),
                      "; give it four dimensions");
  };
  check_four("q", q, "[N, H, L, E]");
  check_four("k", k, "[N, H, S, E]");
  check_four("v", v, "[N, H, S, Ev]");
  Problem p{q.size(0), q.size(1), 1, q.size(2), k.size(2), q.size(3), v.size(3)};
  TORCH_CHECK_VALUE(k.size(3) == p.width, op, ": k: expected ", p.width,
                    " elements for each key, like q, ", q.sizes(), ", got ", k.sizes(),
                    "; scores are dot products of queries and keys");
  const int64_t key_heads = k.size(1);
  TORCH_CHECK_VALUE(p.heads == key_heads || (key_heads > 0 && p.heads % key_heads == 0), op,
                    ": k: expected heads that divide those of q, ", p.heads, ", got ", key_heads,
                    "; each head of the keys serves as many of the queries");
  if (key_heads > 0) p.group = p.heads / key_heads;
  check_like_q(op, "k", k, {p.batch, key_heads, p.keys, p.width}, q);
  check_like_q(op, "v", v, {p.batch, key_heads, p.keys, p.value_width}, q);
  if (a.mask) check_mask(op, *a.mask, {p.batch, p.heads, p.queries, p.keys}, q);
  check_probability(op, a.dropout);
  TORCH_CHECK_VALUE((a.dropout > 0) == a.seed.has_value(), op,
                    ": seed: expected a tensor where dropout_p > 0 and None where it is 0, got ",
                    a.seed ? "a tensor" : "None", " with dropout_p ", a.dropout,
                    "; call pyneural.ops.attention, which draws it");
  if (a.seed) {
    check_seed(op, *a.seed);
    TORCH_CHECK_VALUE(a.seed->is_cpu() || a.seed->device() == q.device(), op, ": seed: expected ",
                      q.device(), " like q, or the CPU, got ", a.seed->device(),
                      "; move it with .to(q.device)");
  }
  TORCH_CHECK_VALUE(!a.scale || std::isfinite(*a.scale), op,
                    ": scale: expected a finite number or None, got ", a.scale.value_or(0),
                    "; it multiplies q k^T");
  p.is_causal = a.is_causal;
  p.dropout = a.dropout;
  p.scale = a.scale ? *a.scale : p.width > 0 ? 1 / std::sqrt(static_cast<double>(p.width)) : 1;
  return p;
}

inline Problem check_with_grad(const char* op, const at::Tensor& grad_out, const Arguments& a) {
  const Problem p = check(op, a);
  check_like_q(op, "grad_out", grad_out, {p.batch, p.heads, p.queries, p.value_width}, a.q);
  return p;
}

}  // namespace detail

inline Problem check_attention(const Arguments& a) { return detail::check("attention", a); }

inline Problem check_attention_backward(const BackwardArguments& b) {
  const char* const op = "attention_backward";
  const Problem p = detail::check_with_grad(op, b.grad_out, b.forward());
  detail::check_like_q(op, "out", b.out, {p.batch, p.heads, p.queries, p.value_width}, b.q);
  const char* const remedy = "give the result of attention_with_lse";
  check_shape({op, "lse"}, b.lse, {p.batch, p.heads, p.queries}, remedy);
  const at::ScalarType type = accumulator_dtype(b.q);
  TORCH_CHECK_VALUE(b.lse.scalar_type() == type, op, ": lse: expected ", type, ", got ",
                    b.lse.scalar_type(), "; ", remedy);
  TORCH_CHECK_VALUE(b.lse.device() == b.q.device(), op, ": lse: expected ", b.q.device(),
                    " like q, got ", b.lse.device(), "; ", remedy);
  return p;
}

inline void check_attention_mask_backward(const MaskBackwardArguments& b) {
  const char* const op = "attention_mask_backward";
  detail::check_with_grad(op, b.grad_out, b.forward);
  const OptionalTensor& mask = b.forward.mask;
  TORCH_CHECK_VALUE(mask && mask->scalar_type() != at::kBool, op,
                    ": mask: expected a float mask, got ", mask ? "a bool mask" : "None",
                    "; only floats have a gradient");
}

inline void check_attention_keep(const at::Tensor& seed, at::IntArrayRef shape, double p) {
  const char* const op = "attention_keep";
  TORCH_CHECK_VALUE(shape.size() == 4, op, ": shape: expected [N, H, L, S], got ", shape,
                    "; give the four sizes");
  detail::check_seed(op, seed);
  detail::check_probability(op, p);
}

}  // namespace pyneural::attention
