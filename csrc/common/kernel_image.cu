#include "kernel_image.h"

namespace pyneural {
namespace {

__global__ void empty_kernel() {}

}  // namespace

cudaError_t find_kernels() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, empty_kernel);
  if (error) cudaGetLastError();  // that the check of the next launch does not find it
  return error;
}

}  // namespace pyneural
