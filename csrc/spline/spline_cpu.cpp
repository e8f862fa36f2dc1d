// The rational-quadratic spline on the CPU, forward and backward, each in one pass over memory.
//
// Letters: N points, K bins, P points of a vector. The parameters of a vector of points are
// transposed, [3 K - 1][P], so that every step is one of vectors of points. Threads own contiguous
// chunks of the points.
#include <torch/library.h>

#include <vector>

#include "../common/dispatch.h"
#include "../common/parallel.h"
#include "../common/results.h"
#include "../common/transpose.h"
#include "../common/vector_math.h"
#include "../common/vectors.h"
#include "spline.h"
#include "spline_rows.h"

namespace pyneural::spline {
namespace {

// One kind of parameters, [N, columns].
template <class T>
class Rows {
 public:
  explicit Rows(const at::Tensor& tensor)
      : tensor_(with_even_rows(tensor)),
        distance_(*distance_of_rows(tensor_)),
        columns_(tensor_.size(-1)),
        data_(tensor_.const_data_ptr<T>()) {}

  // to [columns][P] from n <= P rows, 0 beyond them; returns where it ends.
  T* load(int64_t first, int64_t n, T* to) const {
    if (n < lanes<T>()) std::fill_n(to, columns_ * lanes<T>(), T(0));
    transpose(data_ + first * distance_, distance_, n, columns_, to, lanes<T>());
    return to + columns_ * lanes<T>();
  }

 private:
  at::Tensor tensor_;
  int64_t distance_, columns_;
  const T* data_;
};

template <class T>
struct Parameters {
  explicit Parameters(const Arguments& a)
      : widths(a.widths), heights(a.heights), derivatives(a.derivatives) {}

  void load(int64_t first, int64_t n, T* to) const {
    derivatives.load(first, n, heights.load(first, n, widths.load(first, n, to)));
  }

  Rows<T> widths, heights, derivatives;
};

// body(tile, first, n) for n <= P points each, with memory of the thread's for `rows` vectors.
template <class T, class Body>
void for_vectors(int64_t points, int64_t rows, const Body& body) {
  constexpr int64_t P = lanes<T>();
  constexpr double kMultiplyAdds = 30;  // for a parameter, about
  const int64_t vectors = vectors_of<T>(points);
  const double work = kMultiplyAdds * static_cast<double>(points) * static_cast<double>(rows);
  const int64_t threads = std::min(vectors, useful_threads(work));
  parallel_chunks(vectors, threads, [&](int64_t, int64_t begin, int64_t end) {
    std::vector<T> tile(rows * P);
    for (int64_t v = begin; v < end; ++v) body(tile.data(), v * P, std::min(P, points - v * P));
  });
}

Two rational_quadratic_spline(const Arguments& a) {
  const int64_t bins = check_rational_quadratic_spline(a);
  const Two result = empty_values(a);
  if (a.x.numel() == 0) return result;
  dispatch_floating(a.x, [&](auto type) {
    using T = decltype(type);
    const auto spline = make_spline<T>(bins, a.bound, a.slope, a.inverse);
    const Parameters<T> parameters(a);
    const at::Tensor points = a.x.contiguous();
    const T* const x = points.const_data_ptr<T>();
    T *const y = std::get<0>(result).data_ptr<T>(), *const ladj = std::get<1>(result).data_ptr<T>();
    for_vectors<T>(a.x.numel(), 3 * bins - 1, [&](T* tile, int64_t first, int64_t n) {
      const auto count = static_cast<int>(n);
      parameters.load(first, n, tile);
      const auto [value, log_slope] =
          evaluate(spline, Vec<T>::loadu(x + first, count), tile, tile, lanes<T>());
      value.store(y + first, count);
      log_slope.store(ladj + first, count);
    });
  });
  return result;
}

Four rational_quadratic_spline_backward(const BackwardArguments& b) {
  const int64_t bins = check_rational_quadratic_spline_backward(b);
  const Four grads = empty_gradients(b);
  if (b.x.numel() == 0) return grads;
  dispatch_floating(b.x, [&](auto type) {
    using T = decltype(type);
    constexpr int64_t P = lanes<T>();
    const auto spline = make_spline<T>(bins, b.bound, b.slope, b.inverse);
    const Parameters<T> parameters(
        {b.x, b.widths, b.heights, b.derivatives, b.bound, b.slope, b.inverse});
    const at::Tensor points = b.x.contiguous(), of_y = b.grad_y.contiguous(),
                     of_ladj = b.grad_ladj.contiguous();
    const T *const x = points.const_data_ptr<T>(), *const grad_y = of_y.const_data_ptr<T>(),
                   *const grad_ladj = of_ladj.const_data_ptr<T>();
    T *const grad_x = std::get<0>(grads).data_ptr<T>(),
             *const grad_widths = std::get<1>(grads).data_ptr<T>(),
             *const grad_heights = std::get<2>(grads).data_ptr<T>(),
             *const grad_derivatives = std::get<3>(grads).data_ptr<T>();
    const int64_t K = bins, exponentials = (3 * K - 1) * P;
    for_vectors<T>(b.x.numel(), 5 * K - 1, [&](T* tile, int64_t first, int64_t n) {
      const auto count = static_cast<int>(n);
      const auto load = [&](const T* from) { return Vec<T>::loadu(from + first, count); };
      parameters.load(first, n, tile);
      differentiate(spline, load(x), load(grad_y), load(grad_ladj), tile, tile + exponentials, P)
          .store(grad_x + first, count);
      transpose(tile, P, K, n, grad_widths + first * K, K);
      transpose(tile + K * P, P, K, n, grad_heights + first * K, K);
      transpose(tile + 2 * K * P, P, K - 1, n, grad_derivatives + first * (K - 1), K - 1);
    });
  });
  return grads;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("rational_quadratic_spline",
         FlatOp<rational_quadratic_spline, ForwardSignature<Two>>::call);
  m.impl("rational_quadratic_spline_backward",
         FlatOp<rational_quadratic_spline_backward, BackwardSignature<Four>>::call);
}

}  // namespace pyneural::spline
