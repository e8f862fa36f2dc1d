// Attention on CUDA: checks, memory and the stream; the .cu files do the work.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "../common/dispatch_cuda.h"
#include "attention_cuda.h"
#include "attention_ops.h"
#include "mask_base.h"

namespace pyneural::attention::cuda {
namespace {

template <class T>
Rows<const T> rows_of(const at::Tensor& t) {
  return {static_cast<const T*>(t.const_data_ptr()), t.stride(0), t.stride(1), t.stride(2)};
}
// Null for an undefined tensor.
template <class T>
Rows<T> rows_to_write(const at::Tensor& t) {
  if (!t.defined()) return {};
  return {static_cast<T*>(t.data_ptr()), t.stride(0), t.stride(1), t.stride(2)};
}

// The arguments converted for the kernels; owns the memory that the pointers refer to.
struct Inputs {
  Problem problem;
  at::Tensor q, k, v, mask, base, seed;

  Inputs(const Problem& problem, const Arguments& a)
      : problem(problem), q(with_rows(a.q)), k(with_rows(a.k)), v(with_rows(a.v)) {
    if (a.mask)
      mask = a.mask->scalar_type() == at::kBool ? *a.mask : a.mask->to(accumulator_dtype(q));
    if (a.mask && mask.scalar_type() != at::kBool) base = mask_base(mask, problem);
    if (a.seed) seed = on_device(*a.seed, q.device());
  }

  template <class T>
  AttentionParams<T> params() const {
    using Accumulator = typename AttentionParams<T>::Accumulator;
    const Problem& p = problem;
    AttentionParams<T> params{p.batch,       p.heads,       p.group,
                              p.queries,     p.keys,        p.width,
                              p.value_width, p.is_causal,   static_cast<Accumulator>(p.scale),
                              rows_of<T>(q), rows_of<T>(k), rows_of<T>(v)};
    if (mask.defined()) {
      if (mask.scalar_type() == at::kBool)
        params.allowed = mask.const_data_ptr<bool>();
      else
        params.added = mask.const_data_ptr<Accumulator>();
      if (base.defined()) params.base = base.const_data_ptr<Accumulator>();
      for (int64_t d = 0; d < 4; ++d)
        params.mask_strides[d] = mask.size(d) == 1 ? 0 : mask.stride(d);
      for (int64_t d = 0; d < 3 && base.defined(); ++d)
        params.base_strides[d] = base.size(d) == 1 ? 0 : base.stride(d);
    }
    if (seed.defined()) {
      params.seed = seed.const_data_ptr<int64_t>();
      params.dropout = Dropout(0, p.dropout);
    }
    return params;
  }
};

struct Kernels {
  static void forward(const Problem& p, const Arguments& a, const at::Tensor& out,
                      const at::Tensor& lse) {
    const Inputs inputs(p, a);
    dispatch_with_reduced_cuda(a.q, [&](auto element, cudaStream_t stream) {
      using T = decltype(element);
      using Accumulator = typename AttentionParams<T>::Accumulator;
      AttentionParams<T> params = inputs.params<T>();
      params.out = rows_to_write<T>(out);
      if (lse.defined()) params.lse = lse.data_ptr<Accumulator>();
      C10_CUDA_CHECK(choose_parts(&params));
      at::Tensor scratch;
      if (params.parts > 1) {
        const auto options = a.q.options().dtype(accumulator_dtype(a.q));
        scratch = at::empty({params.part_elements()}, options);
        params.set_parts(scratch.data_ptr<Accumulator>());
      }
      C10_CUDA_CHECK(launch_attention(params, stream));
    });
  }

  static void backward(const Problem& p, const Arguments& a, const at::Tensor& grad_out,
                       const at::Tensor& out, const at::Tensor& lse,
                       const std::array<at::Tensor, 3>& grads) {
    const Inputs inputs(p, a);
    const at::Tensor delta = at::empty_like(lse);
    dispatch_with_reduced_cuda(a.q, [&](auto element, cudaStream_t stream) {
      using T = decltype(element);
      using Accumulator = typename AttentionParams<T>::Accumulator;
      AttentionParams<T> params = inputs.params<T>();
      params.grad_out = rows_of<T>(grad_out);
      params.out = rows_to_write<T>(out);
      params.lse = lse.data_ptr<Accumulator>();
      params.delta = delta.data_ptr<Accumulator>();
      params.grad_q = rows_to_write<T>(grads[0]);
      params.grad_k = rows_to_write<T>(grads[1]);
      params.grad_v = rows_to_write<T>(grads[2]);
      C10_CUDA_CHECK(choose_backward_parts(&params));
      at::Tensor scratch;
      if (const int64_t size = params.part_grad_elements()) {
        scratch = at::empty({size}, lse.options());
        params.part_grads = scratch.data_ptr<Accumulator>();
      }
      C10_CUDA_CHECK(launch_attention_backward(params, stream));
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::attention::cuda
