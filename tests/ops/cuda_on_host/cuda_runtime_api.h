// CUDA on the host, for tests: as much of it as lets a C++ compiler build a .cu file whose launches
// and dynamic shared memory cuda_on_host_build.py has rewritten.
//
// The threads of a block are coroutines that run one after the other from barrier to barrier, in
// one of three orders; what depends on the order lacks a barrier. Blocks run one after the other.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1;
constexpr int kMaxSharedBytes = 227 << 10;  // of a block, sm_90
enum {
  cudaFuncAttributeMaxDynamicSharedMemorySize,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin
};

struct Dim3 {
  unsigned x = 0;
};
inline Dim3 threadIdx, blockIdx, gridDim;

namespace cuda_on_host {

enum class Order { ascending, descending, shuffled };

inline int multiprocessors = 1, shared_bytes = kMaxSharedBytes;
inline Order order = Order::ascending;

struct Thread {
  static constexpr size_t kStackBytes = 1 << 16;
  ucontext_t context;
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  bool ended;
};

inline ucontext_t scheduler;
inline std::vector<Thread> threads;
inline std::function<void()> kernel;

inline void thread_main() {
  kernel();
  threads[threadIdx.x].ended = true;
}

inline void run_block() {
  const unsigned size = threads.size();
  std::vector<unsigned> turn(size);
  std::iota(turn.begin(), turn.end(), 0u);
  if (order == Order::descending) std::reverse(turn.begin(), turn.end());
  std::mt19937 random(blockIdx.x);
  for (Thread& thread : threads) {
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = Thread::kStackBytes;
    thread.context.uc_link = &scheduler;
    thread.ended = false;
    makecontext(&thread.context, thread_main, 0);
  }
  for (unsigned ended = 0; ended < size;) {
    if (order == Order::shuffled) std::shuffle(turn.begin(), turn.end(), random);
    ended = 0;
    for (const unsigned i : turn) {
      threadIdx.x = i;
      swapcontext(&scheduler, &threads[i].context);
      ended += threads[i].ended;
    }
    if (ended != 0 && ended != size) {
      std::fprintf(stderr, "__syncthreads: %u of %u threads ended before it\n", ended, size);
      std::abort();
    }
  }
}

template <class Body>
void launch(unsigned blocks, unsigned block_threads, Body body) {
  kernel = body;
  gridDim.x = blocks;
  threads = std::vector<Thread>(block_threads);
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) run_block();
}

}  // namespace cuda_on_host

inline void __syncthreads() {
  using namespace cuda_on_host;
  swapcontext(&threads[threadIdx.x].context, &scheduler);
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int, int bytes) {
  return bytes > kMaxSharedBytes ? cudaErrorInvalidValue : cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? cuda_on_host::multiprocessors
                                                       : cuda_on_host::shared_bytes;
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
