// The ops around the kernels of a device: checks and schemas.
#pragma once

#include <torch/library.h>

#include <vector>

#include "rnn_check.h"

namespace pyneural::rnn {

inline at::Tensor in_dtype(at::ScalarType dtype, const at::Tensor& t) {
  return t.scalar_type() == dtype ? t : t.to(dtype);
}

// Null for an undefined tensor.
template <class T>
const T* read(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr<T>() : nullptr;
}

// A call's tensors but for x and the lengths, in the type that the kernels take and contiguous.
struct Inputs {
  at::ScalarType dtype;
  at::Tensor h0, c0, weight_ih, weight_hh, bias_ih, bias_hh;

  Inputs(const Arguments& a, at::ScalarType type)
      : dtype(type),
        h0(ready(a.h0)),
        c0(ready(a.c0)),
        weight_ih(ready(a.weight_ih)),
        weight_hh(ready(a.weight_hh)),
        bias_ih(ready(a.bias_ih)),
        bias_hh(ready(a.bias_hh)) {}

  at::Tensor ready(const at::Tensor& t) const { return in_dtype(dtype, t).contiguous(); }
  at::Tensor ready(const OptionalTensor& t) const { return t ? ready(*t) : at::Tensor(); }
};

// Kernels has
//   forward(layer, arguments, with_saved) -> y [T, N, H], h_n and c_n [N, H], saved [T, N, K, H],
//       of which c_n and saved are empty where there is none
//   backward(layer, backward_arguments, wanted) -> gradients of x, h0, c0, weight_ih, weight_hh,
//       bias_ih and bias_hh, empty where not wanted
template <class Kernels>
struct Ops {
  static Three rnn(const Arguments& a) {
    const auto [y, h_n, c_n, saved] = Kernels::forward(check_rnn(a), a, false);
    return {y, h_n, c_n};
  }

  static Four rnn_with_saved(const Arguments& a) { return Kernels::forward(check_rnn(a), a, true); }

  static std::vector<at::Tensor> rnn_backward(const BackwardArguments& b) {
    const Layer layer = check_rnn_backward(b);
    std::array<bool, 7> wanted = b.output_mask;
    wanted[2] = wanted[2] && b.c0;
    return Kernels::backward(layer, b, wanted);
  }

  static void add_to(torch::Library& library) {
    library.impl("rnn", FlatOp<rnn, ForwardSignature<Three>>::call);
    library.impl("rnn_with_saved", FlatOp<rnn_with_saved, ForwardSignature<Four>>::call);
    library.impl("rnn_backward",
                 FlatOp<rnn_backward, BackwardSignature<std::vector<at::Tensor>>>::call);
  }
};

}  // namespace pyneural::rnn
