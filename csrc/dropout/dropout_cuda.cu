// Dropout on CUDA: a thread draws the four words of a counter, of elements that lie
// kDropoutCounters apart, so that neighbouring threads have neighbouring elements.
#include "../common/accumulator.h"
#include "../common/elements.cuh"
#include "../common/launch.cuh"
#include "dropout_cuda.h"

namespace pyneural::dropout {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads)
    drop_kernel(const __grid_constant__ DropoutParams<T> params) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t block = thread / kDropoutCounters;
  const int counter = static_cast<int>(thread % kDropoutCounters);
  const int64_t first = block * kDropoutBlock + counter;
  if (first >= params.size) return;
  Dropout dropout = params.dropout;
  dropout.seed = static_cast<uint64_t>(*params.seed);
  const auto factor = static_cast<Accumulator<T>>(dropout.factor);
  uint32_t words[4];
  dropout.draw(0, block, counter, words);
  PYNEURAL_UNROLL
  for (int w = 0; w < 4; ++w) {
    const int64_t i = first + w * kDropoutCounters;
    if (i < params.size)
      store(load(params.x + i) * (dropout.keeps(words[w]) ? factor : Accumulator<T>(0)),
            params.y + i);
  }
}

}  // namespace

template <class T>
cudaError_t DropoutParams<T>::launch(cudaStream_t stream) const {
  const int64_t threads = tiles_of(size, kDropoutBlock) * kDropoutCounters;
  return pyneural::launch(drop_kernel<T>, tiles_of(threads, kThreads), kThreads, 0, stream, *this);
}

template struct DropoutParams<float>;
template struct DropoutParams<double>;
template struct DropoutParams<BFloat16>;
template struct DropoutParams<Float16>;

}  // namespace pyneural::dropout
