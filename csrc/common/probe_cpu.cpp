// The multiply-add probe: what the processor does at most, in the instruction set in use. A
// benchmark divides its own rate by it.
#include <torch/library.h>

#include <chrono>
#include <limits>

#include "micro_kernel.h"
#include "parallel.h"

namespace pyneural {
namespace {

// FLOP/s of one thread that does nothing but fused multiply-adds in registers for `seconds`.
template <class T>
double multiply_add_rate(double seconds) {
  constexpr int kChains = kTileRows * kTileVectors, kBlock = 1 << 14;
  Register<T> sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = Register<T>{} + T(i);
  // In the form of Arm's instruction, whose sum and result are one register. What is added rounds
  // away, so that a sum stays what it is, which the compiler must not know.
  volatile T rounds_away = std::numeric_limits<T>::epsilon() / 4;
  const T factor = rounds_away;
  const auto start = std::chrono::steady_clock::now();
  double elapsed = 0, operations = 0;
  while (elapsed < seconds) {
    for (int k = 0; k < kBlock; ++k) {
#pragma GCC unroll 32
      for (int i = 0; i < kChains; ++i) sum[i] += sum[i] * factor;
    }
    operations += 2.0 * kBlock * kChains * lanes<T>();
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  T used = 0;
  for (int i = 0; i < kChains; ++i) used += sum[i][0];
  return used != T(0) ? operations / elapsed : 0;
}

double multiply_add_probe(std::string_view dtype, int64_t threads, double seconds) {
  TORCH_CHECK_VALUE(dtype == "float32" || dtype == "float64",
                    "multiply_add_probe: dtype: expected float32 or float64, got ", dtype);
  TORCH_CHECK_VALUE(threads >= 1 && threads <= at::get_num_threads(),
                    "multiply_add_probe: threads: expected 1 to ", at::get_num_threads(), ", got ",
                    threads, "; raise it with torch.set_num_threads");
  std::vector<double> rate(threads);
  parallel_chunks(threads, threads, [&](int64_t thread, int64_t, int64_t) {
    rate[thread] =
        dtype == "float32" ? multiply_add_rate<float>(seconds) : multiply_add_rate<double>(seconds);
  });
  double total = 0;
  for (const double one : rate) total += one;
  return total;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("multiply_add_probe", multiply_add_probe);
}

}  // namespace pyneural
