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
  using OptionalTensor = std::optional<at::Tensor>;
  using Two = std::tuple<at::Tensor, at::Tensor>;
  using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

  static at::Tensor dense(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias,
                          std::string_view activation) {
    return std::get<0>(forward(x, weight, bias, activation, false));
  }

  static Two dense_with_preactivation(const at::Tensor& x, const at::Tensor& weight,
                                      const OptionalTensor& bias, std::string_view activation) {
    return forward(x, weight, bias, activation, true);
  }

  static Three dense_backward(const at::Tensor& grad_y, const at::Tensor& x,
                              const at::Tensor& weight, const OptionalTensor& bias,
                              const at::Tensor& saved, std::string_view activation,
                              std::array<bool, 3> output_mask) {
    const Layer layer =
        check_dense_backward(grad_y, x, weight, bias, saved, activation, output_mask);
    if constexpr (!Kernels::kHasReduced)
      if (is_reduced(x)) {
        const auto [grad_x, grad_weight, grad_bias] =
            dense_backward(upcast(grad_y), upcast(x), upcast(weight), upcast(bias), upcast(saved),
                           activation, output_mask);
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
    library.impl("dense", dense);
    library.impl("dense_with_preactivation", dense_with_preactivation);
    library.impl("dense_backward", dense_backward);
  }

 private:
  // y, and z if it is wanted and f' needs it; else an empty tensor.
  static Two forward(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias,
                     std::string_view activation, bool with_preactivation) {
    const Layer layer = check_dense(x, weight, bias, activation);
    if constexpr (!Kernels::kHasReduced)
      if (is_reduced(x)) {
        const auto [y, z] =
            forward(upcast(x), upcast(weight), upcast(bias), activation, with_preactivation);
        return {y.to(x.scalar_type()), z.to(x.scalar_type())};
      }
    const auto [y, z] = empty_outputs(x, layer, with_preactivation);
    if (y.numel() > 0)
      Kernels::forward(layer, *x.expect_contiguous(), *weight.expect_contiguous(),
                       bias ? bias->contiguous() : at::Tensor(), y, z);
    return {y, z};
  }
};

}  // namespace pyneural::dense
