// Dropout on the CPU: y = x / (1 - p) where an element is kept, 0 where it is not. Which are kept
// is a function of the seed and of an element's place, so that a backward needs no mask.
#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/dropout.h"
#include "../common/parallel.h"

namespace pyneural::dropout {
namespace {

// Blocks worth waking a thread for.
constexpr int64_t kBlocksPerThread = (1 << 14) / kDropoutBlock;

template <class T>
void drop(const T* x, int64_t size, const Dropout& dropout, T* y) {
  using Accumulator = at::opmath_type<T>;
  const int64_t blocks = (size + kDropoutBlock - 1) / kDropoutBlock;
  const int64_t threads = std::clamp<int64_t>(blocks / kBlocksPerThread, 1, at::get_num_threads());
  parallel_chunks(blocks, threads, [&](int64_t, int64_t begin, int64_t end) {
    alignas(64) Accumulator factors[kDropoutBlock];
    for (int64_t block = begin; block < end; ++block) {
      dropout.factors(0, block, factors);
      const int64_t first = block * kDropoutBlock;
      const int64_t count = std::min<int64_t>(kDropoutBlock, size - first);
      for (int64_t j = 0; j < count; ++j) {
        const Accumulator value = static_cast<Accumulator>(x[first + j]) * factors[j];
        y[first + j] = static_cast<T>(factors[j] == 0 ? Accumulator(0) : value);  // were x infinite
      }
    }
  });
}

at::Tensor dropout(const at::Tensor& x, const at::Tensor& seed, double p) {
  const at::ScalarType type = x.scalar_type();
  TORCH_CHECK_VALUE(
      type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kHalf,
      "dropout: x: expected float32, float64, bfloat16 or float16, got ", type,
      "; convert it with x.float()");
  TORCH_CHECK_VALUE(p >= 0 && p <= 1, "dropout: p: expected 0 to 1, got ", p,
                    "; it is the probability that an element becomes 0");
  TORCH_CHECK_VALUE(seed.is_cpu() && seed.scalar_type() == at::kLong && seed.numel() == 1,
                    "dropout: seed: expected one int64 on the CPU, got ", seed.sizes(), " of ",
                    seed.scalar_type(), "; draw it with torch.randint");
  const auto from = x.expect_contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const Dropout dropout(static_cast<uint64_t>(*seed.const_data_ptr<int64_t>()), p);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, type, "dropout", [&] {
    drop(from->const_data_ptr<scalar_t>(), x.numel(), dropout, y.data_ptr<scalar_t>());
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { m.impl("dropout", dropout); }

}  // namespace pyneural::dropout
