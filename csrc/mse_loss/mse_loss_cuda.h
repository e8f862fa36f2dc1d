// What the CUDA kernels of the mean squared error take: plain pointers and sizes, no torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural::mse_loss {

template <class T>
struct LossParams {
  int64_t size = 0;
  const T* prediction = nullptr;  // [size]
  const T* target = nullptr;      // [size]
  int32_t blocks = 0;             // of the launch, a function of the size alone
  double* partial = nullptr;      // [blocks]
  T* loss = nullptr;              // [1]

  // Fills blocks; partial is the caller's to allocate.
  void configure();
  cudaError_t launch(cudaStream_t stream) const;
};

// grad = 2/N grad_loss (prediction - target), for at least one element.
template <class T>
struct LossGradParams {
  int64_t size = 0;
  const T* grad_loss = nullptr;   // [1]
  const T* prediction = nullptr;  // [size]
  const T* target = nullptr;      // [size]
  T* grad = nullptr;              // [size]

  cudaError_t launch(cudaStream_t stream) const;
};

}  // namespace pyneural::mse_loss
