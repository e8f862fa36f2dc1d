// Copies of whole tiles from global to shared memory, on compute capability 9.0: one thread starts
// them, and a barrier in shared memory counts the bytes that have arrived.
//
// A barrier alternates between the phases 0 and 1. A phase takes the copies that are started until
// commit_phase, and is complete when all of them have arrived. Parallel Thread Execution ISA,
// "cp.async.bulk.tensor" and "mbarrier"; maps are made by tensor_map.h.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define PYNEURAL_HAS_BULK_COPIES 1
#else
#define PYNEURAL_HAS_BULK_COPIES 0
#endif

namespace pyneural {

using CopyBarrier = uint64_t;

__device__ inline uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

// Called by the thread that starts the copies, before a barrier of the block.
__device__ inline void init_barrier(CopyBarrier* barrier) {
#if PYNEURAL_HAS_BULK_COPIES
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], 1;\n"
      "fence.mbarrier_init.release.cluster;\n"
      "fence.proxy.async.shared::cta;" ::"r"(shared_address(barrier))
      : "memory");
#endif
}

// Starts the copy of the map's box at these coordinates, 0 beyond the end: always all its `bytes`.
__device__ inline void copy_box(void* shared, const CUtensorMap* map, int column, int row, int head,
                                int batch, int bytes, CopyBarrier* barrier) {
#if PYNEURAL_HAS_BULK_COPIES
  asm volatile(
      "mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%6], %7;\n"
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared_address(shared)),
      "l"(map), "r"(column), "r"(row), "r"(head), "r"(batch), "r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#endif
}

// Ends the copies of this phase; called by the thread that started them.
__device__ inline void commit_phase(CopyBarrier* barrier) {
#if PYNEURAL_HAS_BULK_COPIES
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
#endif
}

// Waits until the phase is complete; the thread then sees the copied bytes.
__device__ inline void wait_phase(CopyBarrier* barrier, unsigned phase) {
#if PYNEURAL_HAS_BULK_COPIES
  uint32_t is_complete = 0;
  do {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(is_complete)
        : "r"(shared_address(barrier)), "r"(phase)
        : "memory");
  } while (!is_complete);
#endif
}

}  // namespace pyneural
