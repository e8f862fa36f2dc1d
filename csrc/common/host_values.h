// Whole numbers of the host for kernels, in memory of the device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

// to [count] = values, which may be gone after the call. They travel as a kernel's parameters: a
// copy would wait for the device, and a graph would read the host's memory at each replay.
cudaError_t store_values(const int64_t* values, int64_t count, int64_t* to, cudaStream_t stream);

}  // namespace pyneural
