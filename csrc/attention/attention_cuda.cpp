// Attention on CUDA: checks, memory and the stream; the .cu files do the work.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "attention_check.h"
#include "attention_cuda.h"
#include "layout.h"

namespace pyneural::attention {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// body(a number of the kernels' type, stream).
template <class Body>
void dispatch(const at::Tensor& q, const Body& body) {
  const c10::cuda::CUDAGuard guard(q.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  switch (q.scalar_type()) {
    case at::kFloat:
      return body(float{}, stream);
    case at::kDouble:
      return body(double{}, stream);
    case at::kBFloat16:
      return body(BFloat16{}, stream);
    case at::kHalf:
      return body(Float16{}, stream);
    default:
      TORCH_CHECK_VALUE(false, "attention: q: expected float32, float64, bfloat16 or float16, got ",
                        q.scalar_type(), "; convert it with .float()");
  }
}

template <class T>
Rows<const T> rows_of(const at::Tensor& t) {
  return {static_cast<const T*>(t.const_data_ptr()), t.stride(0), t.stride(1), t.stride(2)};
}
// Of a tensor that is not wanted: none.
template <class T>
Rows<T> rows_to_write(const at::Tensor& t) {
  if (!t.defined()) return {};
  return {static_cast<T*>(t.data_ptr()), t.stride(0), t.stride(1), t.stride(2)};
}

// The arguments as the kernels want them; holds what they point to.
struct Inputs {
  Problem problem;
  at::Tensor q, k, v, mask, seed;

  Inputs(const Problem& problem, const Arguments& a)
      : problem(problem), q(with_rows(a.q)), k(with_rows(a.k)), v(with_rows(a.v)) {
    if (a.mask) mask = a.mask->scalar_type() == at::kBool ? *a.mask : a.mask->to(sum_type(q));
    if (a.seed) seed = a.seed->to(q.device());
  }

  template <class T>
  AttentionParams<T> params() const {
    using Sum = typename AttentionParams<T>::Sum;
    const Problem& p = problem;
    AttentionParams<T> params;
    params.batch = p.batch;
    params.heads = p.heads;
    params.group = p.group;
    params.queries = p.queries;
    params.keys = p.keys;
    params.width = p.width;
    params.value_width = p.value_width;
    params.is_causal = p.is_causal;
    params.scale = static_cast<Sum>(p.scale);
    params.q = rows_of<T>(q);
    params.k = rows_of<T>(k);
    params.v = rows_of<T>(v);
    if (mask.defined()) {
      if (mask.scalar_type() == at::kBool)
        params.allowed = mask.const_data_ptr<bool>();
      else
        params.added = mask.const_data_ptr<Sum>();
      for (int64_t d = 0; d < 4; ++d)
        params.mask_strides[d] = mask.size(d) == 1 ? 0 : mask.stride(d);
    }
    if (seed.defined()) {
      params.seed = seed.const_data_ptr<int64_t>();
      params.dropout = Dropout(0, p.dropout);
    }
    return params;
  }
};

// lse may be undefined.
at::Tensor forward(const Problem& p, const Arguments& a, const at::Tensor& lse) {
  at::Tensor out = empty_with_layout(a.q, {p.batch, p.heads, p.queries, p.value_width});
  if (p.batch * p.heads * p.queries == 0) return out;
  const Inputs inputs(p, a);
  dispatch(a.q, [&](auto number, cudaStream_t stream) {
    using T = decltype(number);
    AttentionParams<T> params = inputs.params<T>();
    params.out = rows_to_write<T>(out);
    if (lse.defined()) params.lse = lse.data_ptr<typename AttentionParams<T>::Sum>();
    C10_CUDA_CHECK(launch_attention(params, stream));
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
  const bool is_empty = p.batch * p.heads * p.queries * p.keys == 0;
  const at::Tensor inputs_of[] = {q, k, v};
  at::Tensor grads[3];
  for (size_t i = 0; i < 3; ++i) {
    if (output_mask[i]) grads[i] = empty_with_layout(inputs_of[i], inputs_of[i].sizes());
    if (output_mask[i] && is_empty) grads[i].zero_();
  }
  if (!is_empty) {
    const Inputs inputs(p, a);
    const at::Tensor grad_rows = with_rows(grad_out), out_rows = with_rows(out),
                     sums = lse.contiguous(), delta = at::empty_like(sums);
    dispatch(q, [&](auto number, cudaStream_t stream) {
      using T = decltype(number);
      using Sum = typename AttentionParams<T>::Sum;
      AttentionParams<T> params = inputs.params<T>();
      params.grad_out = rows_of<T>(grad_rows);
      params.out = rows_to_write<T>(out_rows);
      params.lse = sums.data_ptr<Sum>();
      params.delta = delta.data_ptr<Sum>();
      params.grad_q = rows_to_write<T>(grads[0]);
      params.grad_k = rows_to_write<T>(grads[1]);
      params.grad_v = rows_to_write<T>(grads[2]);
      C10_CUDA_CHECK(launch_attention_backward(params, stream));
    });
  }
  for (at::Tensor& grad : grads)
    if (!grad.defined()) grad = at::empty({0}, q.options());
  return {grads[0], grads[1], grads[2]};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("attention", attention);
  m.impl("attention_with_lse", attention_with_lse);
  m.impl("attention_backward", attention_backward);
}

}  // namespace pyneural::attention
