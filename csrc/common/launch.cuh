// Set-up of a launch: the limits of the current device, and dynamic shared memory.
#pragma once

#include <cuda_runtime_api.h>

namespace pyneural {

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

}  // namespace pyneural
