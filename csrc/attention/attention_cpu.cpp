// Attention on the CPU: the ops, with their arguments converted for the kernels.
#include <ATen/ATen.h>

#include "attention_backward.h"
#include "attention_forward.h"
#include "attention_ops.h"
#include "products_bf16.h"

namespace pyneural::attention {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

// body(products) with the products for q's element type.
template <class Body>
void dispatch(const at::Tensor& q, const Body& body) {
  switch (q.scalar_type()) {
    case at::kDouble:
      return body(ElementProducts<double>{});
    case at::kBFloat16:
#if defined(CPU_CAPABILITY_AVX512)
      if (PairProducts::are_supported()) return body(PairProducts{});
#endif
      return body(ElementProducts<at::BFloat16>{});
    case at::kHalf:
      return body(ElementProducts<at::Half>{});
    default:
      return body(ElementProducts<float>{});
  }
}

// A float mask in the accumulator type; its rows are contiguous or broadcast.
OptionalTensor ready_mask(const OptionalTensor& mask, const at::Tensor& q) {
  if (!mask) return std::nullopt;
  at::Tensor ready = mask->scalar_type() == at::kBool ? *mask : mask->to(accumulator_type(q));
  if (ready.size(3) != 1 && ready.stride(3) != 1) ready = ready.contiguous();
  return ready;
}

Dropout dropout_of(const Arguments& a) {
  return a.seed ? Dropout(static_cast<uint64_t>(a.seed->item<int64_t>()), a.dropout) : Dropout();
}

struct Kernels {
  static void forward(const Problem& p, const Arguments& a, const at::Tensor& out,
                      const at::Tensor& lse) {
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
  }

  static void backward(const Problem& p, const Arguments& a, const at::Tensor& grad_out,
                       const at::Tensor& out, const at::Tensor& lse,
                       const std::array<at::Tensor, 3>& grads) {
    const at::Tensor q = with_rows(a.q), k = with_rows(a.k), v = with_rows(a.v);
    const OptionalTensor mask = ready_mask(a.mask, q);
    const Arguments ready{q, k, v, mask, a.seed, a.is_causal, a.dropout, a.scale};
    dispatch(q, [&](auto products) {
      using Products = decltype(products);
      Backward<Products>(p, ready, mask, dropout_of(a), grad_out, out,
                         lse.const_data_ptr<typename Products::T>(), {grads[0], grads[1], grads[2]})
          .run();
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::attention
