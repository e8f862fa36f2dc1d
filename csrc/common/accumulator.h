// The type that sums elements of a type, on the host and in CUDA kernels.
#pragma once

#include <type_traits>

namespace pyneural {

template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace pyneural
