// Dropout on the CPU: y = x / (1 - p) where an element is kept, 0 x where it is not: NaN, as
// torch's, where x is not finite. Which are kept is a function of the seed and of an element's
// place, so that a backward needs no mask.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/dispatch.h"
#include "../common/dropout.h"
#include "../common/parallel.h"
#include "dropout_check.h"

namespace pyneural::dropout {
namespace {

// Blocks worth waking a thread for.
constexpr int64_t kBlocksPerThread = (1 << 14) / kDropoutBlock;

template <class T>
void drop(const T* x, int64_t size, const Dropout& dropout, T* y) {
  using Sum = Accumulator<T>;
  const int64_t blocks = (size + kDropoutBlock - 1) / kDropoutBlock;
  const int64_t threads = std::clamp<int64_t>(blocks / kBlocksPerThread, 1, at::get_num_threads());
  parallel_chunks(blocks, threads, [&](int64_t, int64_t begin, int64_t end) {
    alignas(64) Sum factors[kDropoutBlock];
    for (int64_t block = begin; block < end; ++block) {
      dropout.factors(0, block, factors);
      const int64_t first = block * kDropoutBlock;
      const int64_t count = std::min<int64_t>(kDropoutBlock, size - first);
      for (int64_t j = 0; j < count; ++j)
        y[first + j] = static_cast<T>(static_cast<Sum>(x[first + j]) * factors[j]);
    }
  });
}

at::Tensor dropout(const at::Tensor& x, const at::Tensor& seed, double p) {
  check_dropout(x, seed, p);
  const auto from = x.expect_contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const Dropout dropout(static_cast<uint64_t>(*seed.const_data_ptr<int64_t>()), p);
  dispatch_with_reduced(x, [&](auto type) {
    using T = decltype(type);
    drop(from->const_data_ptr<T>(), x.numel(), dropout, y.data_ptr<T>());
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { m.impl("dropout", dropout); }

}  // namespace pyneural::dropout
