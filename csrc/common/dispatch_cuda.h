// dispatch.h for the entries of the CUDA kernels: on the tensor's device, with its current stream.
#pragma once

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <atomic>
#include <cstdint>

#include "dispatch.h"
#include "host_values.h"
#include "kernel_image.h"
#include "tensor_core_types.h"

namespace pyneural {

// Refuses a GPU that the kernels were not built for: of every op the driver would only say that
// there is no kernel image. Asked once for each device.
inline void check_kernels(const at::Device& device) {
  constexpr int kLeast = 8, kNoted = 64;
  static std::atomic<uint64_t> found{0};  // a bit for each device
  const uint64_t bit = device.index() < kNoted ? uint64_t{1} << device.index() : 0;
  if (found.load(std::memory_order_relaxed) & bit) return;
  int major = 0, minor = 0;
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.index()));
  C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device.index()));
  TORCH_CHECK_NOT_IMPLEMENTED(
      major >= kLeast, "pyneural: ", device, ": expected a GPU of compute capability ", kLeast,
      ".0 or newer, got ", major, ".", minor,
      "; move the tensors to the CPU, or install pyneural again with PYNEURAL_CUDA=0, by which "
      "torch's own functions serve this GPU");
  const c10::cuda::CUDAGuard guard(device);
  const cudaError_t error = find_kernels();
  TORCH_CHECK_NOT_IMPLEMENTED(
      error != cudaErrorNoKernelImageForDevice && error != cudaErrorInvalidDeviceFunction,
      "pyneural: ", device, ": expected a GPU that the kernels were built for, got compute ",
      "capability ", major, ".", minor,
      "; install pyneural again on this machine, or with TORCH_CUDA_ARCH_LIST=all for all GPUs");
  C10_CUDA_CHECK(error);
  found.fetch_or(bit, std::memory_order_relaxed);
}

// body(T{}, stream) for T float or double.
template <class Body>
void dispatch_floating_cuda(const at::Tensor& x, const Body& body) {
  const c10::cuda::CUDAGuard guard(x.device());
  check_kernels(x.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  dispatch_floating(x, [&](auto type) { body(type, stream); });
}

// The same with BFloat16 and Float16.
template <class Body>
void dispatch_with_reduced_cuda(const at::Tensor& x, const Body& body) {
  const c10::cuda::CUDAGuard guard(x.device());
  check_kernels(x.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  dispatch_with_reduced<BFloat16, Float16>(x, [&](auto type) { body(type, stream); });
}

// int64 values of the host, such as a seed, on the device of a call.
inline at::Tensor on_device(const at::Tensor& values, const at::Device& device) {
  if (values.is_cuda()) return values;
  check_kernels(device);
  const c10::cuda::CUDAGuard guard(device);
  const at::Tensor contiguous = values.contiguous();
  at::Tensor to = at::empty(values.sizes(), values.options().device(device));
  C10_CUDA_CHECK(store_values(contiguous.const_data_ptr<int64_t>(), to.numel(),
                              to.data_ptr<int64_t>(), c10::cuda::getCurrentCUDAStream()));
  return to;
}

// The elements of a tensor, whose dtype is that of T: the kernels have types of their own for the
// reduced precisions. Null for an undefined tensor.
template <class T>
const T* elements(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.const_data_ptr()) : nullptr;
}
template <class T>
T* mutable_elements(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

// A network's parameters in one tensor [P], in the order weights[0], biases[0], weights[1], ..., as
// the kernels of whole networks take them; fills layers, width and offset of their params.
template <class Params>
at::Tensor join_parameters(at::TensorList weights, at::TensorList biases, Params* params) {
  std::vector<at::Tensor> flat;
  params->layers = static_cast<int32_t>(weights.size());
  params->width[0] = weights[0].size(1);
  for (size_t l = 0; l < weights.size(); ++l) {
    flat.push_back(weights[l].reshape({-1}));
    flat.push_back(biases[l]);
    params->width[l + 1] = weights[l].size(0);
    params->offset[l + 1] = params->offset[l] + weights[l].numel() + biases[l].numel();
  }
  return at::cat(flat);
}

}  // namespace pyneural
