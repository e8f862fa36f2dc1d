// csrc/common/warpgroup.cuh on the host, where a test asks for it: a product happens at once, and
// the descriptors are read as the PTX ISA has them.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>

#include "tensor_core.cuh"

#ifndef PYNEURAL_HAS_WARPGROUPS
#define PYNEURAL_HAS_WARPGROUPS 0
#endif

namespace pyneural {

namespace warpgroup {

inline uint64_t describe(const void* row, int first) {
  const auto* const at = static_cast<const unsigned char*>(row) + 2 * first;
  const uint64_t address = at - cuda_on_host::dynamic_shared;
  return (address & 0x3ffff) >> 4 | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

template <class Sums>
void begin(Sums&) {}
template <class Sums>
void finish(Sums&) {}
inline void publish() {}

// 2 bytes of an operand, `line` lines of 128 bytes from its start and `place` elements along one:
// the bits 4 to 6 of an address are those of the place and of the line, added without carry.
inline uint16_t element(uint64_t descriptor, int line, int place) {
  const uint64_t start = (descriptor & 0x3fff) << 4, group = (descriptor >> 32 & 0x3fff) << 4;
  const uint64_t plain = start + line / 8 * group + line % 8 * 128 + place * 2;
  const uint64_t address = plain ^ (plain >> 7 & 7) << 4;
  uint16_t bits;
  std::memcpy(&bits, cuda_on_host::dynamic_shared + address, 2);
  return bits;
}

inline float to_float(BFloat16 value) {
  return tensor_core::as_float(static_cast<uint32_t>(value.bits) << 16);
}
inline float to_float(Float16 value) { return tensor_core::to_float(value); }

template <class T>
struct Products {
  static float value(uint16_t bits) { return to_float(T{bits}); }

  template <int tiles>
  static void multiply(float (&d)[tiles][4], uint64_t a, uint64_t b) {
    for (int j = 0; j < tiles; ++j)
      for (int q = 0; q < 4; ++q) {
        const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + q / 2 * 8;
        const int column = j * 8 + threadIdx.x % 4 * 2 + q % 2;
        for (int k = 0; k < 16; ++k)
          d[j][q] += value(element(a, row, k)) * value(element(b, column, k));
      }
  }

  struct Words {
    uint32_t a[4];
  };
  static void multiply_along_n(float (*d)[4], const uint32_t (&a)[4], uint64_t b) {
    Words own;
    std::memcpy(own.a, a, sizeof a);
    const auto& lanes = cuda_on_host::exchange(own);
    const int group = threadIdx.x / 4 * 4;
    for (int j = 0; j < 8; ++j)
      for (int q = 0; q < 4; ++q)
        for (int k = 0; k < 16; ++k) {
          const uint32_t word = lanes[group + k % 8 / 2].a[q / 2 + k / 8 * 2];
          const int column = j * 8 + threadIdx.x % 4 * 2 + q % 2;
          d[j][q] +=
              value(static_cast<uint16_t>(word >> k % 2 * 16)) * value(element(b, k, column));
        }
  }
};

}  // namespace warpgroup

}  // namespace pyneural
