// Clusters: blocks of a launch that run at the same time and reach each other's shared memory, from
// compute capability 9.0 on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>

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

namespace detail {

// Of a launch of `blocks` blocks in clusters of `size`; points to the attribute.
inline cudaLaunchConfig_t cluster_config(int64_t blocks, int64_t size, int threads, size_t shared,
                                         cudaLaunchAttribute* attribute) {
  attribute->id = cudaLaunchAttributeClusterDimension;
  attribute->val.clusterDim.x = static_cast<unsigned>(size);
  attribute->val.clusterDim.y = attribute->val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.attrs = attribute;
  config.numAttrs = 1;
  return config;
}

// PTX of a target before 9.0 has no clusters, on a newer device either.
inline int count_clusters(const void* kernel, int64_t size, int threads, size_t shared) {
  cudaFuncAttributes attributes;
  cudaLaunchAttribute attribute;
  const cudaLaunchConfig_t config = cluster_config(size, size, threads, shared, &attribute);
  int count = 0;
  if (cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= 90 &&
      cudaOccupancyMaxActiveClusters(&count, kernel, &config) == cudaSuccess)
    return count;
  cudaGetLastError();  // the launch does without clusters
  return 0;
}

}  // namespace detail

// How many clusters of `size` blocks with so much shared memory, which the kernel is set up for,
// the current device runs at a time; 0 where it has none of that size, as a small part of a GPU
// that is divided (MIG). The driver is asked once.
inline int64_t clusters_at_once(const void* kernel, int64_t size, int threads, size_t shared) {
  static std::mutex mutex;
  static std::map<std::tuple<const void*, int, int64_t, int, size_t>, int> counts;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [found, is_new] = counts.try_emplace({kernel, device, size, threads, shared}, 0);
  if (is_new) found->second = detail::count_clusters(kernel, size, threads, shared);
  return found->second;
}

// A launch of `blocks` blocks in clusters of `size`.
inline cudaError_t launch_in_clusters(const void* kernel, int64_t blocks, int64_t size, int threads,
                                      size_t shared, void** arguments, cudaStream_t stream) {
  cudaLaunchAttribute attribute;
  cudaLaunchConfig_t config = detail::cluster_config(blocks, size, threads, shared, &attribute);
  config.stream = stream;
  return cudaLaunchKernelExC(&config, kernel, arguments);
}

}  // namespace pyneural
