// What the CUDA kernel of Adadelta takes: plain pointers and sizes, no torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural::adadelta {

// A step for a list of tensors. A launch takes kMost of them, whose addresses are its arguments.
template <class T>
struct StepParams {
  StepParams(double learning_rate, double rho, double epsilon, double weight_decay)
      : rate(static_cast<T>(learning_rate)),
        rho(static_cast<T>(rho)),
        rest(static_cast<T>(1 - rho)),
        epsilon(static_cast<T>(epsilon)),
        decay(static_cast<T>(weight_decay)) {}

  // The tensors of a parameter, of `size` elements each. Launches those before it if they are
  // kMost; the last ones remain for launch.
  cudaError_t add(int64_t size, T* parameter, const T* gradient, T* square, T* change,
                  cudaStream_t stream);
  cudaError_t launch(cudaStream_t stream);

  static constexpr int kMost = 80;  // in 4 KB of arguments, which have to be sent with each launch
  struct Tensors {
    int64_t first_tile = 0;  // of the launch
    int64_t size = 0;
    T* parameter = nullptr;  // [size], as the others
    const T* gradient = nullptr;
    T* square = nullptr;
    T* change = nullptr;
  };
  T rate, rho, rest, epsilon, decay;
  int32_t count = 0;
  int64_t tiles = 0;
  Tensors tensors[kMost];  // [count], none empty
};

}  // namespace pyneural::adadelta
