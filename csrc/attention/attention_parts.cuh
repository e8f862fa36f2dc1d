// How many parts the keys of a forward are split in, so that few queries fill a GPU.
#pragma once

#include "../common/launch.cuh"

namespace pyneural::attention::cuda {

// Tiles that a part has at least: a block also copies its queries, stores its sums and has them
// joined.
constexpr int64_t kLeastTilesOfPart = 4;

// For `blocks` blocks that each take `tiles` tiles in turn: as many parts as the device runs blocks
// at a time, in one round. The driver says how many of the kernel's fit a multiprocessor.
template <class Kernel>
cudaError_t count_parts(Kernel* kernel, int threads, size_t shared, int64_t blocks, int64_t tiles,
                        int64_t* parts) {
  *parts = 1;
  const int64_t most = tiles / kLeastTilesOfPart;
  if (most < 2) return cudaSuccess;
  DeviceLimits device;
  int of_multiprocessor = 0;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  if (const cudaError_t error = allow_shared_bytes(kernel, shared)) return error;
  if (const cudaError_t error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
          &of_multiprocessor, kernel, threads, shared))
    return error;
  const int64_t at_once = static_cast<int64_t>(device.multiprocessors) * of_multiprocessor / blocks;
  if (at_once > 1) *parts = at_once < most ? at_once : most;
  return cudaSuccess;
}

}  // namespace pyneural::attention::cuda
