// An op of ours by its name, typed: what the autograd code of an op calls through the dispatcher.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace pyneural {

template <class Signature>
auto find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace pyneural
