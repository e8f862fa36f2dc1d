// Tensor cores of a warpgroup, four warps, on sm_90a: operands directly from shared memory.
//
//   d [64, n] += a [64, 16] b [16, n]  2-byte elements, accumulated in float
//
// A warp has 16 rows of d, its lanes as in tensor_core.cuh: d[j] accumulates columns 8 j to
// 8 j + 7. Operands in shared memory are panels of tile_layout.cuh, 128 bytes a row, described by
// 64 bits. Parallel Thread Execution ISA, "Asynchronous Warpgroup Level Matrix Instructions".
#pragma once

#include "tensor_core_types.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PYNEURAL_HAS_WARPGROUPS 1
#else
#define PYNEURAL_HAS_WARPGROUPS 0
#endif

namespace pyneural {

namespace warpgroup {

// An operand whose first row begins at `row`, aligned to the 1024 bytes of a group of 8 rows; from
// the row's 2-byte element `first` on.
__device__ inline uint64_t describe(const void* row, int first) {
  const auto address = static_cast<uint64_t>(__cvta_generic_to_shared(row)) + 2 * first;
  constexpr uint64_t kToNextGroup = 1024, kSwizzle128 = 1;
  return (address & 0x3ffff) >> 4 | uint64_t{1} << 16 | kToNextGroup >> 4 << 32 | kSwizzle128 << 62;
}

// Keeps the compiler from moving accesses of the accumulators across it.
template <int tiles>
__device__ inline void pin(float (&d)[tiles][4]) {
  for (auto& tile : d)
    for (float& sum : tile) asm volatile("" : "+f"(sum)::"memory");
}
// Before the first product, and after other code has written to d or a.
template <int tiles>
__device__ inline void begin(float (&d)[tiles][4]) {
  pin(d);
#if PYNEURAL_HAS_WARPGROUPS
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// Waits until all products are complete.
template <int tiles>
__device__ inline void finish(float (&d)[tiles][4]) {
#if PYNEURAL_HAS_WARPGROUPS
  asm volatile(
      "wgmma.commit_group.sync.aligned;\n"
      "wgmma.wait_group.sync.aligned 0;" ::
          : "memory");
#endif
  pin(d);
}
// Makes this thread's writes to shared memory visible to products after the next barrier.
__device__ inline void publish() {
#if PYNEURAL_HAS_WARPGROUPS
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// multiply(d, a, b): rows of a and b along k, both in shared memory. multiply_along_n(d, words, b):
// a as in tensor_core.cuh, rows of b along n.
template <class T>
struct Products;

#if PYNEURAL_HAS_WARPGROUPS
#define PYNEURAL_SUMS_4(d, i)                                                     \
  "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3]), "+f"(d[i + 1][0]),  \
      "+f"(d[i + 1][1]), "+f"(d[i + 1][2]), "+f"(d[i + 1][3]), "+f"(d[i + 2][0]), \
      "+f"(d[i + 2][1]), "+f"(d[i + 2][2]), "+f"(d[i + 2][3]), "+f"(d[i + 3][0]), \
      "+f"(d[i + 3][1]), "+f"(d[i + 3][2]), "+f"(d[i + 3][3])
#define PYNEURAL_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define PYNEURAL_NAMES_32 \
  PYNEURAL_NAMES_16       \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
// The products add to d: the predicate is true.
#define PYNEURAL_ADD_BEGIN "{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\n"
#define PYNEURAL_PRODUCTS(T, TYPE)                                                                \
  template <>                                                                                     \
  struct Products<T> {                                                                            \
    __device__ static void multiply(float (&d)[4][4], uint64_t a, uint64_t b) {                   \
      asm volatile(PYNEURAL_ADD_BEGIN "wgmma.mma_async.sync.aligned.m64n32k16.f32." TYPE "." TYPE \
                                      " {" PYNEURAL_NAMES_16 "}, %16, %17, p, 1, 1, 0, 0;\n}"     \
                   : PYNEURAL_SUMS_4(d, 0)                                                        \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
    __device__ static void multiply(float (&d)[8][4], uint64_t a, uint64_t b) {                   \
      asm volatile(PYNEURAL_ADD_BEGIN "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE \
                                      " {" PYNEURAL_NAMES_32 "}, %32, %33, p, 1, 1, 0, 0;\n}"     \
                   : PYNEURAL_SUMS_4(d, 0), PYNEURAL_SUMS_4(d, 4)                                 \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
    __device__ static void multiply_along_n(float (*d)[4], const uint32_t (&a)[4], uint64_t b) {  \
      asm volatile(PYNEURAL_ADD_BEGIN "wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE "." TYPE \
                                      " {" PYNEURAL_NAMES_32                                      \
                                      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n}"              \
                   : PYNEURAL_SUMS_4(d, 0), PYNEURAL_SUMS_4(d, 4)                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                         \
    }                                                                                             \
  };
PYNEURAL_PRODUCTS(BFloat16, "bf16")
PYNEURAL_PRODUCTS(Float16, "f16")
#endif

}  // namespace warpgroup

}  // namespace pyneural
