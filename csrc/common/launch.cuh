// Launches of kernels: the limits of the current device, the grid, and dynamic shared memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <mutex>
#include <set>
#include <utility>

namespace pyneural {

__host__ __device__ inline int64_t tiles_of(int64_t size, int64_t tile) {
  return (size + tile - 1) / tile;
}

struct DeviceLimits {
  int multiprocessors = 0;
  int shared_bytes = 0;  // of a block at most
};

inline cudaError_t find_device_limits(DeviceLimits* limits) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error =
          cudaDeviceGetAttribute(&limits->multiprocessors, cudaDevAttrMultiProcessorCount, device))
    return error;
  return cudaDeviceGetAttribute(&limits->shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                device);
}

// A block has up to 48 KiB of dynamic shared memory unless the kernel is set up for more. It is set
// up at its first launch on a device, and for all that a block can have there: the size of each
// launch would race with that of another thread, and spoil the launches that a graph has captured.
template <class Kernel>
cudaError_t allow_shared_bytes(Kernel* kernel, size_t bytes) {
  static std::mutex mutex;
  static std::set<std::pair<Kernel*, int>> set_up;  // kernels, and the device
  if (bytes == 0) return cudaSuccess;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  if (set_up.count({kernel, device})) return cudaSuccess;
  DeviceLimits limits;
  cudaFuncAttributes attributes;
  if (const cudaError_t error = find_device_limits(&limits)) return error;
  if (const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel)) return error;
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               limits.shared_bytes - static_cast<int>(attributes.sharedSizeBytes)))
    return error;
  set_up.insert({kernel, device});
  return cudaSuccess;
}

// What a kernel's arguments may take together, from the CUDA on that build_tools/environment.py
// asks for.
template <class... Arguments>
constexpr bool kFitAsArguments = (0 + ... + sizeof(Arguments)) <= 32764;

template <class... Arguments>
cudaError_t launch(void (*kernel)(Arguments...), int64_t blocks, int threads, size_t shared,
                   cudaStream_t stream, const Arguments&... arguments) {
  static_assert(kFitAsArguments<Arguments...>);
  if (blocks > INT32_MAX) return cudaErrorInvalidValue;  // what a grid has at most
  if (const cudaError_t error = allow_shared_bytes(kernel, shared)) return error;
  const auto grid = static_cast<unsigned>(blocks);
  kernel<<<grid, threads, shared, stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace pyneural
