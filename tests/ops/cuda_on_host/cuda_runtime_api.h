// CUDA on the host, for tests: as much of it as lets a C++ compiler build a .cu file whose launches
// and dynamic shared memory cuda_on_host_build.py has rewritten.
//
// The threads of a block are coroutines that run one after the other from barrier to barrier, in
// one of three orders; what depends on the order lacks a barrier. Blocks run one after the other,
// those of a cooperative launch from grid barrier to grid barrier.
#pragma once

#include <cuda.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__
#define CUDART_VERSION 13000

using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorLaunchFailure = 719;
constexpr int kMaxSharedBytes = 227 << 10;  // of a block, sm_90
enum {
  cudaFuncAttributeMaxDynamicSharedMemorySize,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin
};
enum cudaDriverEntryPointQueryResult {
  cudaDriverEntryPointSuccess,
  cudaDriverEntryPointSymbolNotFound
};
constexpr unsigned long long cudaEnableDefault = 0;

struct cudaFuncAttributes {
  int ptxVersion, binaryVersion;
  size_t sharedSizeBytes;  // static: here as if there were none
};

struct dim3 {
  unsigned x = 0;
};
inline dim3 threadIdx, blockIdx, gridDim;

namespace cuda_on_host {

alignas(1024) inline unsigned char dynamic_shared[kMaxSharedBytes];

// The calls that matter for other threads and for graphs, in order.
struct Call {
  bool is_set_up;  // of the dynamic shared memory of a kernel, else a launch
  size_t shared;   // bytes
};
inline std::vector<Call> calls;
// Of the kernels that were set up, by the device, which is another one on another machine.
inline std::map<std::pair<const void*, int>, size_t> allowed;
constexpr size_t kAllowedAtFirst = 48 << 10;
inline int multiprocessors = 1, shared_bytes = kMaxSharedBytes;

inline bool note_launch(const void* kernel, size_t shared) {
  calls.push_back({false, shared});
  const auto found = allowed.find({kernel, shared_bytes});
  return shared <= (found == allowed.end() ? kAllowedAtFirst : found->second);
}

// Where shared memory lies: the dynamic one, and what the kernels that ran have declared.
constexpr int kMostShared = 64;
inline uintptr_t shared_begin[kMostShared] = {reinterpret_cast<uintptr_t>(dynamic_shared)};
inline uintptr_t shared_end[kMostShared] = {reinterpret_cast<uintptr_t>(dynamic_shared) +
                                            kMaxSharedBytes};
inline int shared_count = 1;
template <class Declared>
void declare_shared(const Declared& declared) {
  const auto begin = reinterpret_cast<uintptr_t>(&declared);
  if (std::count(shared_begin, shared_begin + shared_count, begin)) return;
  shared_begin[shared_count] = begin;
  shared_end[shared_count++] = begin + sizeof declared;
}

enum class Order { ascending, descending, shuffled };

inline int architecture = 80;  // of the device and of the code
inline Order order = Order::ascending;

struct Thread {
  static constexpr size_t kStackBytes = 1 << 16;
  std::unique_ptr<char[]> stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
  jmp_buf at;  // where it goes on, once it has begun
  bool begun = false, ended = false;
  bool waiting = false;  // for other blocks
  bool polling = false;  // for other threads
  unsigned exchanges = 0, exchanges_in_warp = 0;
};

inline jmp_buf scheduler;
inline std::vector<Thread> threads;
inline std::function<void()> kernel;

inline void thread_main() {
  kernel();
  threads[threadIdx.x].ended = true;
  _longjmp(scheduler, 1);
}

// Runs a thread until it gives the turn back. A context is needed to begin on another stack; from
// then on jumps do, which make no system call.
[[gnu::noinline]] inline void give_turn(Thread& thread) {
  if (_setjmp(scheduler)) return;
  if (thread.begun) _longjmp(thread.at, 1);
  thread.begun = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = thread.stack.get();
  context.uc_stack.ss_size = Thread::kStackBytes;
  makecontext(&context, thread_main, 0);
  setcontext(&context);
}

[[gnu::noinline]] inline void give_turn_back() {
  if (!_setjmp(threads[threadIdx.x].at)) _longjmp(scheduler, 1);
}

inline void fail(const char* why) {
  std::fprintf(stderr, "thread %u of block %u: %s\n", threadIdx.x, blockIdx.x, why);
  std::abort();
}

// Of all threads: those that wait for others get on by them.
inline int64_t exchanges_in_warps = 0;

inline void begin_block() {
  for (Thread& thread : threads) thread.begun = thread.ended = false;
}

// Until its threads have ended, or all wait for other blocks; gives whether they have ended.
inline bool run_block() {
  const unsigned size = threads.size();
  std::vector<unsigned> turn(size);
  std::iota(turn.begin(), turn.end(), 0u);
  if (order == Order::descending) std::reverse(turn.begin(), turn.end());
  std::mt19937 random(blockIdx.x);
  for (;;) {
    if (order == Order::shuffled) std::shuffle(turn.begin(), turn.end(), random);
    for (std::vector<unsigned> left = turn; !left.empty();) {
      const int64_t before = exchanges_in_warps;
      for (const unsigned i : left) {
        threadIdx.x = i;
        give_turn(threads[i]);
      }
      const size_t arrived = std::erase_if(left, [](unsigned i) { return !threads[i].polling; });
      if (arrived == 0 && exchanges_in_warps == before) fail("waits for what no thread does");
    }
    unsigned ended = 0, waiting = 0;
    for (const Thread& thread : threads) {
      ended += thread.ended;
      waiting += thread.waiting;
    }
    if (ended == size) return true;
    if (waiting == size) return false;
    if (ended != 0) {
      std::fprintf(stderr, "__syncthreads: %u of %u threads ended before it\n", ended, size);
      std::abort();
    }
  }
}

inline cudaError_t last_error = cudaSuccess;

template <class Kernel, class Body>
void launch(Kernel* launched, unsigned blocks, unsigned block_threads, size_t shared, Body body) {
  if (!note_launch(reinterpret_cast<const void*>(launched), shared)) {
    last_error = cudaErrorInvalidValue;
    return;
  }
  kernel = body;
  gridDim.x = blocks;
  threads = std::vector<Thread>(block_threads);
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
    std::fill_n(dynamic_shared, shared, 0xff);  // NaN, whoever reads it unwritten
    begin_block();
    run_block();
  }
}

struct Block {
  std::vector<Thread> threads;
  std::vector<unsigned char> shared;  // while it does not run
  bool ended = false;
};
inline std::vector<Block> all;  // of a cooperative launch

// Blocks that wait for each other: each has threads and dynamic shared memory of its own.
template <class Body>
void launch_cooperative(unsigned blocks, unsigned block_threads, size_t shared, Body body) {
  kernel = body;
  gridDim.x = blocks;
  all = std::vector<Block>(blocks);
  for (Block& block : all) {
    block.threads = std::vector<Thread>(block_threads);
    block.shared = std::vector<unsigned char>(shared, 0xff);  // NaN, whoever reads it unwritten
  }
  for (unsigned ended = 0; ended < blocks;) {
    ended = 0;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
      Block& block = all[blockIdx.x];
      if (!block.ended) {
        threads.swap(block.threads);
        std::copy(block.shared.begin(), block.shared.end(), dynamic_shared);
        block.ended = run_block();
        std::copy_n(dynamic_shared, shared, block.shared.begin());
        threads.swap(block.threads);
      }
      ended += block.ended;
    }
  }
}

}  // namespace cuda_on_host

namespace cuda_on_host {

// Of all blocks since the library was loaded.
inline int64_t barriers = 0;

inline void note_barrier() { barriers += threadIdx.x == 0; }

}  // namespace cuda_on_host

inline void __syncthreads() {
  cuda_on_host::note_barrier();
  cuda_on_host::give_turn_back();
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
// The launch is an error, though its other threads go on.
inline void __trap() { cuda_on_host::last_error = cudaErrorLaunchFailure; }

namespace cuda_on_host {

// What every thread of the block gives, for each of them to read: after one barrier, since who
// writes to the same place again has passed the next one.
template <class Item>
const std::vector<Item>& exchange(const Item& own) {
  static std::vector<Item> items[2];
  std::vector<Item>& given = items[threads[threadIdx.x].exchanges++ % 2];
  if (given.size() < threads.size()) given.resize(threads.size());
  given[threadIdx.x] = own;
  give_turn_back();
  return given;
}

// Gives the turn to the other threads of the block, until their next barrier.
inline void wait_for_threads() {
  threads[threadIdx.x].polling = true;
  give_turn_back();
  threads[threadIdx.x].polling = false;
}

// What every lane of the warp gives: the warps of a block need not do so equally often.
template <class Item>
const std::vector<Item>& exchange_in_warp(const Item& own) {
  static std::vector<Item> items[2];
  const unsigned first = threadIdx.x / 32 * 32, round = ++threads[threadIdx.x].exchanges_in_warp;
  ++exchanges_in_warps;
  std::vector<Item>& given = items[round % 2];
  if (given.size() < threads.size()) given.resize(threads.size());
  given[threadIdx.x] = own;
  const auto is_behind = [&](const Thread& lane) {
    return static_cast<int>(lane.exchanges_in_warp - round) < 0;
  };
  while (std::any_of(&threads[first], &threads[first] + 32, is_behind)) wait_for_threads();
  return given;
}

}  // namespace cuda_on_host

inline int __syncthreads_or(int value) {
  cuda_on_host::note_barrier();
  const auto& given = cuda_on_host::exchange<int>(value);
  return std::any_of(given.begin(), given.begin() + cuda_on_host::threads.size(),
                     [](int one) { return one != 0; });
}
inline int __syncthreads_and(int value) { return !__syncthreads_or(!value); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return cuda_on_host::exchange_in_warp<T>(value)[threadIdx.x ^ mask];
}

inline uint32_t __ballot_sync(unsigned, bool value) {
  const auto& given = cuda_on_host::exchange_in_warp<char>(value);
  const unsigned first = threadIdx.x / 32 * 32;
  uint32_t bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) bits |= uint32_t{given[first + lane] != 0} << lane;
  return bits;
}

// Gives the turn to another block.
inline void wait_for_blocks() {
  cuda_on_host::threads[threadIdx.x].waiting = true;
  cuda_on_host::give_turn_back();
  cuda_on_host::threads[threadIdx.x].waiting = false;
}

template <class Params>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(Params), dim3 grid, dim3 block,
                                        void** arguments, size_t shared, cudaStream_t) {
  if (!cuda_on_host::note_launch(reinterpret_cast<const void*>(kernel), shared))
    return cudaErrorInvalidValue;
  const auto body = [=] { kernel(*static_cast<Params*>(arguments[0])); };
  cuda_on_host::launch_cooperative(grid.x, block.x, shared, body);
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, int, int bytes) {
  if (bytes > cuda_on_host::shared_bytes) return cudaErrorInvalidValue;
  cuda_on_host::calls.push_back({true, static_cast<size_t>(bytes)});
  const std::pair key{reinterpret_cast<const void*>(kernel), cuda_on_host::shared_bytes};
  cuda_on_host::allowed[key] = static_cast<size_t>(bytes);
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  attributes->ptxVersion = attributes->binaryVersion = cuda_on_host::architecture;
  attributes->sharedSizeBytes = 0;
  return cudaSuccess;
}
// As if each thread had 128 of 65,536 registers, and a block 1 KiB of the system's.
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel* kernel, int threads,
                                                          size_t shared) {
  using namespace cuda_on_host;
  const auto found = allowed.find({reinterpret_cast<const void*>(kernel), shared_bytes});
  const bool fits = shared <= (found == allowed.end() ? kAllowedAtFirst : found->second);
  constexpr size_t kOfSystem = 1 << 10, kThreads = 65536 / 128;
  const size_t count = (static_cast<size_t>(shared_bytes) + kOfSystem) / (shared + kOfSystem);
  *blocks = fits ? static_cast<int>(std::min(count, kThreads / static_cast<size_t>(threads))) : 0;
  return cudaSuccess;
}
inline cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                                    unsigned long long,
                                                    cudaDriverEntryPointQueryResult* status) {
  const bool has = std::strcmp(name, "cuTensorMapEncodeTiled") == 0;
  *function = has ? reinterpret_cast<void*>(&cuTensorMapEncodeTiled) : nullptr;
  *status = has ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = cuda_on_host::shared_bytes;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? cuda_on_host::multiprocessors
                                                       : cuda_on_host::shared_bytes;
  return cudaSuccess;
}
inline cudaError_t cudaGetLastError() {
  return std::exchange(cuda_on_host::last_error, cudaSuccess);
}

#ifdef TRACED
#define DECLARE_SHARED(name) cuda_on_host::declare_shared(name)
#include "bank_conflicts.h"
#else
#define DECLARE_SHARED(name)
#endif
