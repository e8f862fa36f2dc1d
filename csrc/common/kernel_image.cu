#include "kernel_image.h"

namespace pyneural {
namespace {

__global__ void empty_kernel() {}

}  // namespace

cudaError_t find_kernels() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, empty_kernel);
}

}  // namespace pyneural
