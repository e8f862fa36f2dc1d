#include "host_values.h"

#include <algorithm>

#include "launch.cuh"

namespace pyneural {
namespace {

struct Values {
  static constexpr int kMost = 256;
  int64_t of[kMost];
};

__global__ void __launch_bounds__(Values::kMost)
    store_kernel(const __grid_constant__ Values values, int64_t* to) {
  to[threadIdx.x] = values.of[threadIdx.x];
}

}  // namespace

cudaError_t store_values(const int64_t* values, int64_t count, int64_t* to, cudaStream_t stream) {
  for (int64_t first = 0; first < count; first += Values::kMost) {
    const int part = static_cast<int>(std::min<int64_t>(count - first, Values::kMost));
    Values some;
    std::copy_n(values + first, part, some.of);
    if (const cudaError_t error = launch(store_kernel, 1, part, 0, stream, some, to + first))
      return error;
  }
  return cudaSuccess;
}

}  // namespace pyneural
