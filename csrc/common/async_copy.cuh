// Asynchronous copies from global to shared memory, past the registers, while a thread computes.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

constexpr int kCopyBytes = 16;  // both ends are aligned to it

// Copies `bytes` of kCopyBytes; the rest become 0.
__device__ inline void copy_async(void* shared, const void* global, int bytes) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
               : "memory");
}

// The same of `size`, 4 or 8, where the ends are aligned to no more.
template <int size>
__device__ inline void copy_small_async(void* shared, const void* global, int bytes) {
  static_assert(size == 4 || size == 8);
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(size),
               "r"(bytes)
               : "memory");
}

// Ends a group of the thread's copies.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the last `groups` of the thread's groups are in flight; after a barrier all
// threads see the others.
template <int groups>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

}  // namespace pyneural
