// What the autograd code of the ops shares: calls through the dispatcher, and who needs a graph.
//
// Their Functions are in C++ because a Function in Python costs more than a small layer. A backward
// calls the op's `*_backward` through the dispatcher. Where a graph of it is wanted, the derivative
// that ops/registration.py gave that op makes it; otherwise no Python runs.
#pragma once

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "find_op.h"

namespace pyneural {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

inline bool requires_grad(const at::Tensor& tensor) { return tensor.requires_grad(); }
inline bool requires_grad(const std::optional<at::Tensor>& tensor) {
  return tensor && tensor->requires_grad();
}
inline bool requires_grad(at::TensorList tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const at::Tensor& tensor) { return tensor.requires_grad(); });
}

// Whether a call on these is to be differentiated.
template <class... Tensors>
bool needs_graph(const Tensors&... tensors) {
  return at::GradMode::is_enabled() && (requires_grad(tensors) || ...);
}

// A saved tensor that may have been None.
inline std::optional<at::Tensor> if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

// Calls an op's `*_backward`: past autograd, unless a graph of the backward is wanted.
template <class Op, class... Args>
auto call_backward(const Op& op, const Args&... args) {
  if (at::GradMode::is_enabled()) return op.call(args...);
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(args...);
}

// Inside an op's autocast kernel: autocast is off, and arguments are cast to `dtype`.
class Autocast {
 public:
  Autocast(at::DeviceType device, at::ScalarType dtype)
      : device_(device),
        dtype_(dtype),
        off_(at::autocast::get_autocast_dispatch_key_from_device_type(device)) {}
  // To the precision that the user asks of autocast.
  explicit Autocast(at::DeviceType device)
      : Autocast(device, at::autocast::get_autocast_dtype(device)) {}

  at::Tensor operator()(const at::Tensor& tensor) const {
    return at::autocast::cached_cast(dtype_, tensor, device_);
  }
  std::optional<at::Tensor> operator()(const std::optional<at::Tensor>& tensor) const {
    return tensor ? std::optional<at::Tensor>((*this)(*tensor)) : std::nullopt;
  }
  std::vector<at::Tensor> operator()(at::TensorList tensors) const {
    return at::autocast::cached_cast(dtype_, tensors, device_);
  }

 private:
  at::DeviceType device_;
  at::ScalarType dtype_;
  c10::impl::ExcludeDispatchKeyGuard off_;
};

}  // namespace pyneural
