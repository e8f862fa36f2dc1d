// csrc/common/cluster.cuh on the host: clusters of a cooperative launch, where a machine has them.
#pragma once

#include <cuda_runtime_api.h>

namespace pyneural {

constexpr int64_t kMaxClusterSize = 8;

namespace on_host {

// The device's multiprocessors are in groups of so many, and a cluster is within one; 0: none is.
inline int group_of_multiprocessors = 0;
inline unsigned cluster_size = 1;
inline std::vector<unsigned> arrivals, rounds;  // of each cluster's blocks, of each block

}  // namespace on_host

// Every other block gives its turn away when it has arrived: what it writes only then comes late.
// The others go on, and what they read without waiting is not there.
inline void cluster_arrive() {
  using namespace on_host;
  __syncthreads();
  if (threadIdx.x == 0) {
    ++arrivals[blockIdx.x / cluster_size];
    ++rounds[blockIdx.x];
  }
  if (blockIdx.x % 2) wait_for_blocks();
}
inline void cluster_wait() {
  using namespace on_host;
  __syncthreads();
  while (arrivals[blockIdx.x / cluster_size] < cluster_size * rounds[blockIdx.x]) wait_for_blocks();
}

template <class T>
T* in_block(T* own, unsigned rank) {
  using namespace on_host;
  const unsigned block = blockIdx.x / cluster_size * cluster_size + rank;
  if (block == blockIdx.x) return own;
  const auto offset = reinterpret_cast<unsigned char*>(own) - cuda_on_host::dynamic_shared;
  return reinterpret_cast<T*>(cuda_on_host::all[block].shared.data() + offset);
}

template <class Kernel>
int64_t clusters_at_once(Kernel, int64_t size, int, size_t) {
  const int group = on_host::group_of_multiprocessors;
  return group == 0 ? 0 : cuda_on_host::multiprocessors / group * (group / size);
}

template <class Params>
cudaError_t launch_in_clusters(void (*kernel)(Params), int64_t blocks, int64_t size, int threads,
                               size_t shared, void** arguments, cudaStream_t stream) {
  on_host::cluster_size = static_cast<unsigned>(size);
  on_host::arrivals.assign(blocks / size, 0);
  on_host::rounds.assign(blocks, 0);
  return cudaLaunchCooperativeKernel(kernel, dim3{static_cast<unsigned>(blocks)},
                                     dim3{static_cast<unsigned>(threads)}, arguments, shared,
                                     stream);
}

}  // namespace pyneural
