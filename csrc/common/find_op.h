// The ops of ours as functions: what the autograd code of an op calls through the dispatcher.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>

namespace pyneural {

// An op's name as a template argument.
template <size_t size>
struct OpName {
  char text[size];
  consteval OpName(const char (&name)[size]) { std::copy_n(name, size, text); }
};

template <OpName name, class Signature>
struct Op;
template <OpName name, class Result, class... Args>
struct Op<name, Result(Args...)> {
  using Signature = Result(Args...);

  Result operator()(Args... args) const {
    static const auto op =
        c10::Dispatcher::singleton().findSchemaOrThrow(name.text, "").template typed<Signature>();
    return op.call(args...);
  }
};

}  // namespace pyneural
