// Whether the build has code for a GPU.
#pragma once

#include <cuda_runtime_api.h>

namespace pyneural {

// An error where it has none for the current device.
cudaError_t find_kernels();

}  // namespace pyneural
