// Tensor cores of a warp, and conversions to their element types.
//
//   d [16, 8] += a [16, k] b [k, 8],  k = 16 of 2 bytes or 8 of 4 bytes: 8 words a row
//
// The lanes hold the words of a row-major a and of the transpose of b in the same order for every
// type: lane l has, with g = l / 4 and t = l % 4,
//   a[0 .. 3]  words (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
//   b[0 .. 1]  words t and t + 4 of column g
//   d[0 .. 3]  elements (g, 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1)
// Parallel Thread Execution ISA, "Matrix Fragments for mma.m16n8k16" and "... m16n8k8".
#pragma once

#include "tensor_core_types.h"

namespace pyneural {

namespace tensor_core {

__device__ inline void multiply_bfloat16(float (&d)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void multiply_float16(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void multiply_tf32(float (&d)[4], const uint32_t (&a)[4],
                                     const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four products of [8, 4] and [4, 8] each; the words of a and b are as above, of 8 bytes.
__device__ inline void multiply_float64(double (&d)[4], const double (&a)[4],
                                        const double (&b)[2]) {
  for (int k = 0; k < 2; ++k)
    for (int row = 0; row < 2; ++row)
      asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
                   : "+d"(d[2 * row]), "+d"(d[2 * row + 1])
                   : "d"(a[2 * k + row]), "d"(b[k]));
}

// Four matrices of 8 rows of 16 bytes in shared memory, row r of matrix m where lane 8 m + r says:
// a lane gets word t of row g of each.
__device__ inline void load_matrices(uint32_t (&words)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// 2-byte elements, transposed: a lane gets those of rows 2 t and 2 t + 1 in column g.
__device__ inline void load_matrices_transposed(uint32_t (&words)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// Two values rounded to 2 bytes each, in a word.
__device__ inline uint32_t pack_bfloat16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ inline uint32_t pack_float16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}

// Rounded to a mantissa of 10 bits.
__device__ inline float to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
}

__device__ inline uint32_t as_word(float value) { return __float_as_uint(value); }
__device__ inline float as_float(uint32_t word) { return __uint_as_float(word); }

__device__ inline float to_float(Float16 value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}
__device__ inline Float16 to_float16(float value) {
  Float16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
}

}  // namespace tensor_core

}  // namespace pyneural
