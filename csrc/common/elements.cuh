// Loads and stores of every element type of the CUDA kernels, converted to the accumulator type.
#pragma once

#include "activation.h"
#include "tensor_core.cuh"

namespace pyneural {

PYNEURAL_INLINE float load(const float* from) { return *from; }
PYNEURAL_INLINE double load(const double* from) { return *from; }
__device__ inline float load(const BFloat16* from) {
  return tensor_core::as_float(static_cast<uint32_t>(from->bits) << 16);
}
__device__ inline float load(const Float16* from) { return tensor_core::to_float(*from); }

PYNEURAL_INLINE void store(float value, float* to) { *to = value; }
PYNEURAL_INLINE void store(double value, double* to) { *to = value; }
__device__ inline void store(float value, BFloat16* to) {
  const uint32_t bits = tensor_core::as_word(value);
  const bool is_nan = value != value;
  // To the nearest, halves to the even one.
  to->bits = static_cast<uint16_t>(is_nan ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
__device__ inline void store(float value, Float16* to) { *to = tensor_core::to_float16(value); }

}  // namespace pyneural
