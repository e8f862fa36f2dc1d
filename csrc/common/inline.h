// How functions of the host and the device are inlined, and loops unrolled.
#pragma once

#ifdef __CUDACC__
#define PYNEURAL_INLINE __host__ __device__ __forceinline__
#define PYNEURAL_UNROLL _Pragma("unroll")
#else
#define PYNEURAL_INLINE inline __attribute__((always_inline))
#define PYNEURAL_UNROLL _Pragma("GCC unroll 8")
#endif
