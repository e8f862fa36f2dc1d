// Attention on the CPU: the ops, with their arguments converted for the kernels.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "attention_backward.h"
#include "attention_forward.h"
#include "attention_ops.h"
#include "products_bf16.h"

namespace pyneural::attention::cpu {
namespace {

// body(products) with the products for q's element type.
template <class Body>
void dispatch(const at::Tensor& q, const Body& body) {
  dispatch_with_reduced(q, [&](auto element) {
    using In = decltype(element);
#if defined(CPU_CAPABILITY_AVX512)
    if constexpr (std::is_same_v<In, at::BFloat16>)
      if (PairProducts::are_supported()) return body(PairProducts{});
#endif
    body(ElementProducts<In>{});
  });
}

// A float mask in the accumulator type; its rows are contiguous or broadcast.
OptionalTensor ready_mask(const OptionalTensor& mask, const at::Tensor& q) {
  if (!mask) return std::nullopt;
  at::Tensor ready = mask->scalar_type() == at::kBool ? *mask : mask->to(accumulator_dtype(q));
  if (ready.size(3) != 1 && ready.stride(3) != 1) ready = ready.contiguous();
  return ready;
}

// The arguments converted for the kernels.
struct Inputs {
  const Arguments& given;
  at::Tensor q, k, v;
  OptionalTensor mask;

  explicit Inputs(const Arguments& a)
      : given(a),
        q(with_rows(a.q)),
        k(with_rows(a.k)),
        v(with_rows(a.v)),
        mask(ready_mask(a.mask, a.q)) {}

  Arguments arguments() const {
    return {q, k, v, mask, given.seed, given.is_causal, given.dropout, given.scale};
  }
  Dropout dropout() const {
    if (!given.seed) return {};
    return {static_cast<uint64_t>(given.seed->item<int64_t>()), given.dropout};
  }
};

struct Kernels {
  static void forward(const Problem& p, const Arguments& a, const at::Tensor& out,
                      const at::Tensor& lse) {
    const Inputs inputs(a);
    dispatch(a.q, [&](auto products) {
      using Products = decltype(products);
      using T = typename Products::T;
      T* const to = lse.defined() ? lse.data_ptr<T>() : nullptr;
      Forward<Products>(p, inputs.arguments(), inputs.dropout(), out, to).run();
    });
  }

  static void backward(const Problem& p, const Arguments& a, const at::Tensor& grad_out,
                       const at::Tensor& out, const at::Tensor& lse,
                       const std::array<at::Tensor, 3>& grads) {
    const Inputs inputs(a);
    dispatch(a.q, [&](auto products) {
      using Products = decltype(products);
      Backward<Products>(p, inputs.arguments(), inputs.dropout(), grad_out, out,
                         lse.const_data_ptr<typename Products::T>(), {grads[0], grads[1], grads[2]})
          .run();
    });
  }
};

// Which weights [N, H, L, S] dropout keeps, for every device.
at::Tensor attention_keep(const at::Tensor& seed, at::IntArrayRef shape, double p) {
  check_attention_keep(seed, shape, p);
  at::Tensor keep = at::empty(shape, at::TensorOptions(at::kBool));
  const Dropout dropout(static_cast<uint64_t>(seed.item<int64_t>()), p);
  const int64_t keys = shape[3], rows = keys > 0 ? keep.numel() / keys : 0;
  bool* to = keep.mutable_data_ptr<bool>();
  float factors[kDropoutBlock];
  for (int64_t row = 0; row < rows; ++row, to += keys)
    for (int64_t key = 0; key < keys; ++key) {
      if (key % kDropoutBlock == 0) dropout.factors(row, key / kDropoutBlock, factors);
      to[key] = factors[key % kDropoutBlock] != 0;
    }
  return keep.to(seed.device());
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }
TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("attention_keep", attention_keep);
}

}  // namespace pyneural::attention::cpu
