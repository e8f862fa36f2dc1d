// Clusters: blocks of a launch that run at the same time and reach each other's shared memory, from
// compute capability 9.0 on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

// Largest cluster that every such GPU supports.
constexpr int64_t kMaxClusterSize = 8;

// The barrier of all threads of a cluster, in two halves: what was written before a thread arrives,
// to global memory or to the shared memory of any block, is visible to those who have waited.
__device__ inline void cluster_arrive() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ inline void cluster_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// The address in block `rank` of the cluster that corresponds to `own` in this block's shared
// memory.
template <class T>
__device__ inline T* in_block(T* own, unsigned rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint64_t address = 0;
  asm("mapa.u64 %0, %1, %2;" : "=l"(address) : "l"(reinterpret_cast<uint64_t>(own)), "r"(rank));
  return reinterpret_cast<T*>(address);
#else
  return own;
#endif
}

// Whether the code of the kernel that this device runs was compiled for clusters: PTX of an older
// target has none, on a newer device either.
inline cudaError_t has_clusters(const void* kernel, bool* has) {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  *has = error == cudaSuccess && attributes.ptxVersion >= 90;
  return error;
}

// A launch of `blocks` blocks in clusters of `size`.
inline cudaError_t launch_in_clusters(const void* kernel, int64_t blocks, int64_t size, int threads,
                                      size_t shared, void** arguments, cudaStream_t stream) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(size);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelExC(&config, kernel, arguments);
}

}  // namespace pyneural
