// The dense ops around the kernels of a device: checks, and memory for what they return.
#pragma once

#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/results.h"
#include "dense_check.h"

namespace pyneural::dense {

// Kernels has
//   kHasReduced                                        else these are computed in float32
//   forward(layer, x, weight, bias, y, z)              bias may be undefined, z empty
//   backward(layer, grad_y, x, weight, saved, grads)   of x, weight and bias, empty if not wanted
// which are called where there is something to do, with contiguous tensors.
template <class Kernels>
struct Ops {
  static at::Tensor dense(const Arguments& a) { return std::get<0>(forward(a, false)); }

  static Two dense_with_preactivation(const Arguments& a) { return forward(a, true); }

  static Three dense_backward(const BackwardArguments& b) {
    const auto& [grad_y, x, weight, bias, saved, activation, output_mask] = b;
    const Layer layer = check_dense_backward(b);
    if constexpr (!Kernels::kHasReduced)
      if (is_reduced(x)) {
        const auto [grad_x, grad_weight, grad_bias] =
            dense_backward({upcast(grad_y), upcast(x), upcast(weight), upcast(bias), upcast(saved),
                            activation, output_mask});
        const at::ScalarType type = x.scalar_type();
        return {grad_x.to(type), grad_weight.to(type), grad_bias.to(type)};
      }
    const Three grads{empty_if(output_mask[0], x.sizes(), x),
                      empty_if(output_mask[1], weight.sizes(), x),
                      empty_if(output_mask[2], {layer.out}, x)};
    if (layer.rows == 0 || layer.out == 0)
      std::apply([](const auto&... grad) { (grad.zero_(), ...); }, grads);
    else
      Kernels::backward(layer, *grad_y.expect_contiguous(), *x.expect_contiguous(),
                        *weight.expect_contiguous(), *saved.expect_contiguous(), grads);
    return grads;
  }

  static void add_to(torch::Library& library) {
    library.impl("dense", FlatOp<dense, ForwardSignature<at::Tensor>>::call);
    library.impl("dense_with_preactivation",
                 FlatOp<dense_with_preactivation, ForwardSignature<Two>>::call);
    library.impl("dense_backward", FlatOp<dense_backward, BackwardSignature<Three>>::call);
  }

 private:
  // y, and z if it is wanted and f' needs it; else an empty tensor.
  static Two forward(const Arguments& a, bool with_preactivation) {
    const Layer layer = check_dense(a);
    if constexpr (!Kernels::kHasReduced)
      if (is_reduced(a.x)) {
        const auto [y, z] = forward({upcast(a.x), upcast(a.weight), upcast(a.bias), a.activation},
                                    with_preactivation);
        return {y.to(a.x.scalar_type()), z.to(a.x.scalar_type())};
      }
    const auto [y, z] = empty_outputs(a.x, layer, with_preactivation);
    if (y.numel() > 0)
      Kernels::forward(layer, *a.x.expect_contiguous(), *a.weight.expect_contiguous(),
                       a.bias ? a.bias->contiguous() : at::Tensor(), y, z);
    return {y, z};
  }
};

}  // namespace pyneural::dense
