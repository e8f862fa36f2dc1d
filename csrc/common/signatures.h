// What the declarations of the ops share: types of their arguments and results, and ops whose
// arguments are the members of a struct.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace pyneural {

using OptionalTensor = std::optional<at::Tensor>;
using Two = std::tuple<at::Tensor, at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;
using Five = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// A function of a struct as the op whose arguments are its members, in their order. With the result
// void, an op that only checks them: for kernels that are registered from Python.
template <auto function, class Signature>
struct FlatOp;
template <auto function, class Result, class... Args>
struct FlatOp<function, Result(Args...)> {
  static Result call(Args... args) { return static_cast<Result>(function({args...})); }
};

}  // namespace pyneural
