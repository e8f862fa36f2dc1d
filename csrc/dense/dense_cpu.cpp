// The dense layer on the CPU: y = f(z), z = x W^T + b, and its gradients.
//
// Letters: N rows, I inputs, O outputs. What follows a product is applied to each register tile
// while it is in the first-level cache. Every element of a result is summed by one thread in a
// fixed order, except for grad_bias and, where a weight is too small to occupy the threads,
// grad_weight: those are summed in the order of the threads.
#include "../common/vector_math.h"
#include "dense_ops.h"
#include "product.h"

namespace pyneural::dense {
namespace {

// Rows that grad_weight is summed over before it is worth a thread of its own.
constexpr int64_t kSegmentRows = 512;
// Rows of grad_z whose sums are added up before they join the others.
constexpr int64_t kPreparedRows = 256;
// Elements of grad_z worth a thread.
constexpr int64_t kElementsPerThread = 1 << 14;

// What follows a product: y = f(y + bias) for [rows][columns] of y in a row of `ld`, y + bias is
// also written to z where that is not null. bias may be null.
template <class T>
using Finish = void (*)(int64_t rows, int64_t columns, const T* bias, T* y, T* z, int64_t ld);

template <class Activation, class T>
void finish(int64_t rows, int64_t columns, const T* bias, T* y, T* z, int64_t ld) {
  for (int64_t n = 0; n < columns; n += lanes<T>()) {
    const auto count = static_cast<int>(std::min(lanes<T>(), columns - n));
    const Vec<T> term = bias ? Vec<T>::loadu(bias + n, count) : Vec<T>(T(0));
    for (int64_t m = 0; m < rows; ++m) {
      const Vec<T> value = Vec<T>::loadu(y + m * ld + n, count) + term;
      Vec<T> f[1];
      Activation::template evaluate<0>(value, f);
      f[0].store(y + m * ld + n, count);
      if (z) value.store(z + m * ld + n, count);
    }
  }
}

// grad_z = grad_y f'(z), from y where f' is a function of it, else from z.
template <class T>
using FinishBackward = void (*)(const T* grad_y, const T* saved, int64_t count, T* grad_z);

template <class Activation, class T>
void finish_backward(const T* grad_y, const T* saved, int64_t count, T* grad_z) {
  at::vec::map2<T>([](Vec<T> grad, Vec<T> s) { return multiply_by_slope<Activation>(grad, s); },
                   grad_z, grad_y, saved, count);
}

template <class T>
void forward(const Layer& layer, const T* x, const T* w, const T* bias, T* y, T* z) {
  const auto [N, I, O, activation] = layer;
  Finish<T> finish_tile = nullptr;
  visit_activation(activation, [&](auto f) { finish_tile = finish<decltype(f), T>; });
  const bool is_product = activation == ActivationKind::linear && !bias;
  const Product<T> product({x, I, 1}, {w, I, 1}, y, N, O, I);
  parallel_chunks(product.grid().size(), product.grid().size(),
                  [&](int64_t chunk, int64_t, int64_t) {
                    product.run(
                        chunk, [](int64_t, int64_t) {},
                        [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
                          const int64_t at = row * O + column;
                          if (!is_product)
                            finish_tile(rows, columns, bias ? bias + column : nullptr, y + at,
                                        z ? z + at : nullptr, O);
                        });
                  });
}

// sums [columns] += the column sums of a [rows, columns]; those of kPreparedRows are added up
// before, in `block` [columns], which keeps more digits than adding row by row.
template <class T>
void add_columns(const T* a, int64_t rows, int64_t columns, T* block, T* sums) {
  const auto add = [](Vec<T> a, Vec<T> b) { return a + b; };
  for (int64_t first = 0; first < rows; first += kPreparedRows) {
    std::copy_n(a + first * columns, columns, block);
    for (int64_t m = first + 1; m < std::min(first + kPreparedRows, rows); ++m)
      at::vec::map2<T>(add, block, block, a + m * columns, columns);
    at::vec::map2<T>(add, sums, sums, block, columns);
  }
}

// Each where it is not null.
template <class T>
struct Gradients {
  T *x, *weight, *bias;
};

template <class T>
void backward(const Layer& layer, const T* grad_y, const T* saved, const T* x, const T* w,
              const Gradients<T>& grad) {
  const auto [N, I, O, activation] = layer;
  FinishBackward<T> finish_rows = nullptr;
  visit_activation(activation, [&](auto f) { finish_rows = finish_backward<decltype(f), T>; });
  const bool is_linear = activation == ActivationKind::linear;
  Scratch scratch;
  T* const product = is_linear ? nullptr : scratch.take<T>(N * O);  // grad_y f'(z)
  const T* const grad_z = is_linear ? grad_y : product;
  std::optional<Product<T>> of_x, of_weight;
  if (grad.x) of_x.emplace(Strided<T>{grad_z, O, 1}, Strided<T>{w, 1, I}, grad.x, N, I, O);
  if (grad.weight)
    of_weight.emplace(Strided<T>{grad_z, 1, O}, Strided<T>{x, 1, I}, grad.weight, O, I, N,
                      std::max<int64_t>(N / kSegmentRows, 1));

  // grad_z and the sums of its columns: with grad_x where its threads divide the rows, so that
  // they are still in the cache.
  const bool with_x = of_x && of_x->grid().columns == 1;
  const int64_t chunks =
      with_x ? of_x->grid().size()
             : std::clamp<int64_t>(N * O / kElementsPerThread, 1, at::get_num_threads());
  T* const bias_parts = grad.bias ? scratch.take<T>(chunks * O) : nullptr;
  T* const bias_blocks = grad.bias ? scratch.take<T>(chunks * O) : nullptr;
  if (bias_parts) std::fill_n(bias_parts, chunks * O, T(0));
  const auto prepare = [&](int64_t chunk, int64_t begin, int64_t end) {
    if (!is_linear)
      finish_rows(grad_y + begin * O, saved + begin * O, (end - begin) * O, product + begin * O);
    if (bias_parts)
      add_columns(grad_z + begin * O, end - begin, O, bias_blocks + chunk * O,
                  bias_parts + chunk * O);
  };
  if (with_x) {
    parallel_chunks(chunks, chunks, [&](int64_t, int64_t chunk, int64_t) {
      of_x->run(chunk, [&](int64_t begin, int64_t end) { prepare(chunk, begin, end); });
    });
  } else if (!is_linear || grad.bias) {
    parallel_chunks(N, chunks, [&](int64_t chunk, int64_t begin, int64_t end) {
      for (int64_t first = begin; first < end; first += kPreparedRows)
        prepare(chunk, first, std::min(first + kPreparedRows, end));
    });
  }

  const int64_t blocks_of_x = of_x && !with_x ? of_x->grid().size() : 0;
  const int64_t blocks_of_weight = of_weight ? of_weight->grid().size() : 0;
  const int64_t blocks = std::max(blocks_of_x, blocks_of_weight);
  parallel_chunks(blocks, blocks, [&](int64_t, int64_t chunk, int64_t) {
    if (chunk < blocks_of_x) of_x->run(chunk);
    if (chunk < blocks_of_weight) of_weight->run(chunk);
  });
  if (of_weight) of_weight->add_segments();
  if (grad.bias) add_parts(bias_parts, chunks, O, grad.bias);
}

struct Kernels {
  static constexpr bool kHasReduced = false;

  static void forward(const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                      const at::Tensor& bias, const at::Tensor& y, const at::Tensor& z) {
    dispatch_floating(x, [&](auto type) {
      using T = decltype(type);
      dense::forward(layer, x.const_data_ptr<T>(), weight.const_data_ptr<T>(),
                     data_or_null<const T>(bias), y.data_ptr<T>(), data_or_null<T>(z));
    });
  }

  static void backward(const Layer& layer, const at::Tensor& grad_y, const at::Tensor& x,
                       const at::Tensor& weight, const at::Tensor& saved, const Three& grads) {
    dispatch_floating(x, [&](auto type) {
      using T = decltype(type);
      dense::backward<T>(layer, grad_y.const_data_ptr<T>(), saved.const_data_ptr<T>(),
                         x.const_data_ptr<T>(), weight.const_data_ptr<T>(),
                         {data_or_null<T>(std::get<0>(grads)), data_or_null<T>(std::get<1>(grads)),
                          data_or_null<T>(std::get<2>(grads))});
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::dense
