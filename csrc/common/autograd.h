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
#include <utility>

#include "find_op.h"
#include "signatures.h"

namespace pyneural {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Of any argument of an op.
template <class T>
bool requires_grad(const T&) {
  return false;
}
inline bool requires_grad(const at::Tensor& tensor) { return tensor.requires_grad(); }
inline bool requires_grad(const OptionalTensor& tensor) {
  return tensor && tensor->requires_grad();
}
inline bool requires_grad(at::TensorList tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const at::Tensor& tensor) { return tensor.requires_grad(); });
}

// Whether a call with these is to be differentiated.
template <class... Args>
bool needs_graph(const Args&... args) {
  return at::GradMode::is_enabled() && (requires_grad(args) || ...);
}

// Whether a tensor that an op needs is None: its check, below autograd, says so.
template <class T>
bool is_missing(const T&) {
  return false;
}
inline bool is_missing(const at::Tensor& tensor) { return !tensor.defined(); }

// A saved tensor that may have been None.
inline OptionalTensor if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

// A tensor as a Function saves it where torch's own layers save a view of it: what `t.data = other`
// does to t does not reach it. It has t's place in the graph, and t's count of changes in place.
inline at::Tensor kept(const at::Tensor& t) {
  if (!t.defined()) return t;
  at::Tensor alias(t.tensor_data());
  if (t.requires_grad())
    torch::autograd::impl::set_gradient_edge(alias, torch::autograd::impl::gradient_edge(t));
  return alias;
}

// Calls an op's `*_backward`: past autograd, unless a graph of the backward is wanted.
template <class Backward, class... Args>
auto call_backward(const Backward& op, const Args&... args) {
  if (at::GradMode::is_enabled()) return op(args...);
  const at::AutoDispatchBelowADInplaceOrView below;
  return op(args...);
}

// The outputs of a Function as the result of its op.
template <class Result>
Result as_result(const at::Tensor& output) {
  return output;
}
template <class Result>
Result as_result(const variable_list& outputs) {
  return [&]<size_t... I>(std::index_sequence<I...>) {
    return Result{outputs[I]...};
  }(std::make_index_sequence<std::tuple_size_v<Result>>());
}

// What autograd calls for an op: Function where a graph is wanted, else the op below autograd.
template <class Function, auto op, class Signature = typename decltype(op)::Signature>
struct AutogradOp;
template <class Function, auto op, class Result, class... Args>
struct AutogradOp<Function, op, Result(Args...)> {
  static Result call(Args... args) {
    if (needs_graph(args...) && !(is_missing(args) || ...))
      return as_result<Result>(Function::apply(args...));
    const at::AutoDispatchBelowADInplaceOrView below;
    return op(args...);
  }
};

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
  OptionalTensor operator()(const OptionalTensor& tensor) const {
    return tensor ? OptionalTensor((*this)(*tensor)) : std::nullopt;
  }
  std::vector<at::Tensor> operator()(at::TensorList tensors) const {
    return at::autocast::cached_cast(dtype_, tensors, device_);
  }
  // What is no tensor stays.
  template <class T>
  const T& operator()(const T& argument) const {
    return argument;
  }

 private:
  at::DeviceType device_;
  at::ScalarType dtype_;
  c10::impl::ExcludeDispatchKeyGuard off_;
};

// What autocast calls for an op that runs in the lower precision, as torch's own of its kind.
template <auto op, at::DeviceType device, class Signature = typename decltype(op)::Signature>
struct AutocastOp;
template <auto op, at::DeviceType device, class Result, class... Args>
struct AutocastOp<op, device, Result(Args...)> {
  static Result call(Args... args) {
    const Autocast cast(device);
    return op(cast(args)...);
  }
};

}  // namespace pyneural
