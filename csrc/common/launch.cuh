// Launches of kernels: the limits of the current device, the grid, and dynamic shared memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

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

// A block has up to 48 KiB of dynamic shared memory unless the kernel is set up for more.
template <class Kernel>
cudaError_t allow_shared_bytes(Kernel* kernel, size_t bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

template <class... Arguments>
cudaError_t launch(void (*kernel)(Arguments...), int64_t blocks, int threads, size_t shared,
                   cudaStream_t stream, const Arguments&... arguments) {
  if (blocks > INT32_MAX) return cudaErrorInvalidValue;  // what a grid has at most
  if (shared > 0)
    if (const cudaError_t error = allow_shared_bytes(kernel, shared)) return error;
  const auto grid = static_cast<unsigned>(blocks);
  kernel<<<grid, threads, shared, stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace pyneural
