// The mean squared error on the CPU, forward and backward each in one pass over memory:
//
//   loss = 1/N sum_i (a_i - y_i)^2,   grad_a = 2/N grad_loss (a - y)
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "../common/dispatch.h"
#include "../common/parallel.h"
#include "../common/vectors.h"
#include "mse_loss_check.h"

namespace pyneural::mse_loss {
namespace {

// Elements of one partial sum; the loss is the same with any number of threads.
constexpr int64_t kBlock = 1 << 12;
// Blocks worth waking a thread for: two gain from about twice as many on.
constexpr int64_t kBlocksPerThread = 8;

template <class T>
T sum_of_squares(const T* a, const T* y, int64_t count) {
  using V = Vec<T>;
  constexpr int kSums = 4;  // which do not wait for each other
  V sums[kSums] = {V(0), V(0), V(0), V(0)};
  int64_t i = 0;
  for (; i + kSums * lanes<T>() <= count; i += kSums * lanes<T>())
    for (int s = 0; s < kSums; ++s) {
      const int64_t at = i + s * lanes<T>();
      const V difference = V::loadu(a + at) - V::loadu(y + at);
      sums[s] = at::vec::fmadd(difference, difference, sums[s]);
    }
  for (; i < count; i += lanes<T>()) {
    const auto some = static_cast<int>(std::min(lanes<T>(), count - i));
    const V difference = V::loadu(a + i, some) - V::loadu(y + i, some);  // 0 beyond
    sums[0] = at::vec::fmadd(difference, difference, sums[0]);
  }
  return lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// body(first, count, block) for the blocks of `size` elements.
template <class Body>
void for_blocks(int64_t size, const Body& body) {
  const int64_t blocks = (size + kBlock - 1) / kBlock;
  const int64_t threads = std::clamp<int64_t>(blocks / kBlocksPerThread, 1, at::get_num_threads());
  parallel_chunks(blocks, threads, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b * kBlock, std::min(kBlock, size - b * kBlock), b);
  });
}

at::Tensor mse_loss(const at::Tensor& prediction, const at::Tensor& target) {
  check_mse_loss(prediction, target);
  const auto a = prediction.expect_contiguous(), y = target.expect_contiguous();
  const int64_t size = a->numel();
  at::Tensor loss = at::empty({}, prediction.options());
  dispatch_floating(prediction, [&](auto type) {
    using T = decltype(type);
    const T *const first_a = a->const_data_ptr<T>(), *const first_y = y->const_data_ptr<T>();
    std::vector<T> sums((size + kBlock - 1) / kBlock);
    for_blocks(size, [&](int64_t first, int64_t count, int64_t block) {
      sums[block] = sum_of_squares(first_a + first, first_y + first, count);
    });
    const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
    *loss.data_ptr<T>() = static_cast<T>(sum / static_cast<double>(size));
  });
  return loss;
}

at::Tensor mse_loss_backward(const at::Tensor& grad_loss, const at::Tensor& prediction,
                             const at::Tensor& target) {
  check_mse_loss_backward(grad_loss, prediction, target);
  const auto a = prediction.expect_contiguous(), y = target.expect_contiguous();
  const int64_t size = a->numel();
  at::Tensor grad = at::empty(prediction.sizes(), prediction.options());
  dispatch_floating(prediction, [&](auto type) {
    using T = decltype(type);
    using V = Vec<T>;
    const double each = 2.0 / static_cast<double>(size) * grad_loss.item<double>();
    const V factor(static_cast<T>(each));
    const T *const first_a = a->const_data_ptr<T>(), *const first_y = y->const_data_ptr<T>();
    auto* const first_grad = grad.data_ptr<T>();
    for_blocks(size, [&](int64_t first, int64_t count, int64_t) {
      for (int64_t i = first; i < first + count; i += lanes<T>()) {
        const auto some = static_cast<int>(std::min(lanes<T>(), first + count - i));
        const V difference = V::loadu(first_a + i, some) - V::loadu(first_y + i, some);
        (factor * difference).store(first_grad + i, some);
      }
    });
  });
  return grad;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("mse_loss", mse_loss);
  m.impl("mse_loss_backward", mse_loss_backward);
}

}  // namespace pyneural::mse_loss
