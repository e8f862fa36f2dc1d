// The dense layer on the CPU: y = f(z), z = x W^T + b, and its gradients.
//
// Letters: N rows, I inputs, O outputs. The products run on panels (common/panels.h); what follows
// a product is applied to each register tile while it is in the first-level cache. Every element of
// a result is summed by one thread in a fixed order, except for grad_bias and, where a weight is
// too small to occupy the threads, grad_weight: those are summed in the order of the threads.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <vector>

#include "../common/panels.h"
#include "../common/shares.h"
#include "../common/vector_math.h"
#include "dense_check.h"

namespace pyneural::dense {
namespace {

// Elements of a block of rows, which stays in the second-level cache while all panels pass.
constexpr int64_t kBlockElements = 1 << 16;
// Up to so many rows a weight is read where it lies: packing it costs more than it saves.
constexpr int64_t kFewRows = 2 * kTileRows;
// Rows that a step of grad_weight sums over: they and a panel of x stay in the caches.
constexpr int64_t kStepRows = 512;
constexpr int64_t kBlockOutputs = 16 * kTileRows;  // of a task of grad_weight

template <class T>
constexpr int64_t kWidth = panel_width<T>();

// The columns of panel i.
template <class T>
int64_t panel_columns(int64_t i, int64_t columns) {
  return std::min(kWidth<T>, columns - i * kWidth<T>);
}

double multiply_adds(const Layer& layer) {
  return static_cast<double>(layer.rows) * static_cast<double>(layer.in + 1) *
         static_cast<double>(layer.out);
}

// What follows a product. y and z, which may be null, are [rows][columns] in a row of `ld`.
template <class T>
using Finish = void (*)(const T* product, int64_t rows, int64_t columns, const T* bias, T* y, T* z,
                        int64_t ld);

template <class Activation, class T>
void finish(const T* product, int64_t rows, int64_t columns, const T* bias, T* y, T* z,
            int64_t ld) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < columns; n += lanes<T>()) {
      const auto count = static_cast<int>(std::min(lanes<T>(), columns - n));
      const Vec<T> value = Vec<T>::loadu(product + m * kWidth<T> + n) + Vec<T>::loadu(bias + n);
      Vec<T> f[1];
      Activation::template evaluate<0>(value, f);
      f[0].store(y + m * ld + n, count);
      if (z) value.store(z + m * ld + n, count);
    }
}

// grad_z = grad_y f'(z), by y where f' is a function of it, else by z.
template <class T>
using FinishBackward = void (*)(const T* grad_y, const T* saved, int64_t count, T* grad_z);

template <class Activation, class T>
void finish_backward(const T* grad_y, const T* saved, int64_t count, T* grad_z) {
  at::vec::map2<T>(
      [](Vec<T> grad, Vec<T> s) {
        Vec<T> f[2];
        if constexpr (Activation::kFromValue)
          Activation::template derivatives<1>(s, s, f);
        else
          Activation::template evaluate<1>(s, f);
        return grad * f[1];
      },
      grad_z, grad_y, saved, count);
}

// All panels of a right operand [depth, columns]; pack(i, columns, to) fills one.
template <class T, class Pack>
std::unique_ptr<T[]> pack_panels(int64_t depth, int64_t columns, int64_t threads,
                                 const Pack& pack) {
  const int64_t count = panel_count<T>(columns), size = kWidth<T> * depth;
  std::unique_ptr<T[]> storage(new T[count * size]);
  for_shares(count, std::min(threads, count), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      pack(i, panel_columns<T>(i, columns), storage.get() + i * size);
  });
  return storage;
}

// body(begin, end) for blocks of rows, `depth` long, that stay in the second-level cache.
template <class Body>
void for_blocks(int64_t begin, int64_t end, int64_t depth, const Body& body) {
  const int64_t most =
      std::max<int64_t>(kBlockElements / std::max<int64_t>(depth, 1), 4 * kTileRows);
  const int64_t blocks = (end - begin + most - 1) / most;
  for (int64_t i = 0; i < blocks; ++i)
    body(begin + i * (end - begin) / blocks, begin + (i + 1) * (end - begin) / blocks);
}

// Rows [begin, end) of a, [., depth], times panels; use(first, rows, column, columns, product)
// takes each register tile.
template <class T, class Use>
void multiply_rows(const T* a, int64_t begin, int64_t end, int64_t depth, const T* panels,
                   int64_t columns, const Use& use) {
  alignas(64) T product[kTileRows * kWidth<T>];
  for (int64_t i = 0; i < panel_count<T>(columns); ++i)
    for_row_tiles(begin, end, [&](int64_t first, int64_t rows) {
      multiply<T>({a + first * depth, depth, 1}, rows, depth,
                  packed_panel(panels, i, depth, columns), product, kWidth<T>);
      use(first, rows, i * kWidth<T>, panel_columns<T>(i, columns), product);
    });
}

// Few rows of a, [rows, depth], times w^T by dot products along the rows of w [columns, depth].
template <class T, class Use>
void multiply_few(const T* a, int64_t rows, int64_t depth, const T* w, int64_t columns,
                  const Use& use) {
  const int64_t vectors = depth / lanes<T>(), whole = vectors * lanes<T>();
  alignas(64) T a_rest[kFewRows * lanes<T>()] = {};
  for (int64_t m = 0; m < rows; ++m)
    std::copy(a + m * depth + whole, a + (m + 1) * depth, a_rest + m * lanes<T>());
  const int64_t threads = useful_threads(static_cast<double>(rows) * static_cast<double>(depth) *
                                         static_cast<double>(columns));
  const int64_t panels = panel_count<T>(columns);
  for_shares(panels, std::min(threads, panels), [&](int64_t, int64_t begin, int64_t end) {
    alignas(64) T product[kFewRows * kWidth<T>], w_rest[kDotColumns * lanes<T>()];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t count = panel_columns<T>(i, columns);
      std::fill_n(product, rows * kWidth<T>, T(0));
      for (int64_t n = 0; n < count; n += kDotColumns) {
        const int64_t ns = std::min<int64_t>(kDotColumns, count - n);
        const T* const from = w + (i * kWidth<T> + n) * depth;
        accumulate_dots(rows, ns, vectors, a, depth, from, depth, product + n, kWidth<T>);
        if (whole == depth) continue;
        std::fill_n(w_rest, kDotColumns * lanes<T>(), T(0));
        for (int64_t s = 0; s < ns; ++s)
          std::copy(from + s * depth + whole, from + (s + 1) * depth, w_rest + s * lanes<T>());
        accumulate_dots<T>(rows, ns, 1, a_rest, lanes<T>(), w_rest, lanes<T>(), product + n,
                           kWidth<T>);
      }
      use(int64_t{0}, rows, i * kWidth<T>, count, product);
    }
  });
}

template <class T>
void forward(const Layer& layer, const T* x, const T* w, const T* bias, T* y, T* z) {
  const auto [N, I, O, activation] = layer;
  Finish<T> finish_tile = nullptr;
  visit_activation(activation, [&](auto f) { finish_tile = finish<decltype(f), T>; });
  std::vector<T> biases(panel_count<T>(O) * kWidth<T>);  // whole vectors may be read
  if (bias) std::copy_n(bias, O, biases.begin());
  const auto use = [&, O = O](int64_t first, int64_t rows, int64_t column, int64_t columns,
                              const T* product) {
    const int64_t at = first * O + column;
    finish_tile(product, rows, columns, biases.data() + column, y + at, z ? z + at : nullptr, O);
  };
  if (N <= kFewRows) return multiply_few(x, N, I, w, O, use);
  const int64_t threads = useful_threads(multiply_adds(layer));
  const auto panels = pack_panels<T>(I, O, threads, [&, I = I](int64_t i, int64_t width, T* to) {
    pack_transposed(w + i * kWidth<T> * I, I, I, width, to);
  });
  for_shares(N, std::min(threads, N), [&, I = I, O = O](int64_t, int64_t share, int64_t share_end) {
    for_blocks(share, share_end, I, [&](int64_t begin, int64_t end) {
      multiply_rows(x, begin, end, I, panels.get(), O, use);
    });
  });
}

// Few rows of a, [rows, depth], times w [depth, columns], which is packed only where its columns
// are no whole vectors.
template <class T, class Use>
void multiply_few_transposed(const T* a, int64_t rows, int64_t depth, const T* w, int64_t columns,
                             const Use& use) {
  const int64_t threads = useful_threads(static_cast<double>(rows) * static_cast<double>(depth) *
                                         static_cast<double>(columns));
  const int64_t panels = panel_count<T>(columns);
  for_shares(panels, std::min(threads, panels), [&](int64_t, int64_t begin, int64_t end) {
    alignas(64) T product[kTileRows * kWidth<T>];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i * kWidth<T>, count = panel_columns<T>(i, columns);
      Panel<T> panel{w + column, columns, count / lanes<T>()};
      std::unique_ptr<T[]> packed;
      if (count % lanes<T>() != 0) {
        packed.reset(new T[depth * kWidth<T>]);
        pack_rows(w + column, columns, depth, count, packed.get());
        panel = packed_panel<T>(packed.get(), 0, depth, count);
      }
      for_row_tiles(0, rows, [&](int64_t first, int64_t tile_rows) {
        multiply<T>({a + first * depth, depth, 1}, tile_rows, depth, panel, product, kWidth<T>);
        use(first, tile_rows, column, count, product);
      });
    }
  });
}

// to[e] = the sum of the parts [count][size], in their order.
template <class T>
void add_parts(const T* parts, int64_t count, int64_t size, T* to) {
  std::copy_n(parts, size, to);
  for (int64_t s = 1; s < count; ++s)
    at::vec::map2<T>([](Vec<T> a, Vec<T> b) { return a + b; }, to, to, parts + s * size, size);
}

// sums [columns] += the column sums of a [rows, columns]; those of a few hundred rows are added up
// before, which keeps more digits than adding row by row.
template <class T>
void add_columns(const T* a, int64_t rows, int64_t columns, T* sums) {
  const auto add = [](Vec<T> a, Vec<T> b) { return a + b; };
  std::vector<T> block(columns);
  for (int64_t m = 0; m < rows; ++m)
    at::vec::map2<T>(add, block.data(), block.data(), a + m * columns, columns);
  at::vec::map2<T>(add, sums, sums, block.data(), columns);
}

// grad_z, grad_x and grad_bias, each where it is not null; without grad_z, grad_y is that.
template <class T>
void backward_rows(const Layer& layer, const T* grad_y, const T* saved, const T* w, T* grad_z,
                   T* grad_x, T* grad_bias) {
  const auto [N, I, O, activation] = layer;
  FinishBackward<T> finish_rows = nullptr;
  visit_activation(activation, [&](auto f) { finish_rows = finish_backward<decltype(f), T>; });
  const auto store = [&, I = I](int64_t first, int64_t rows, int64_t column, int64_t columns,
                                const T* product) {
    for (int64_t m = 0; m < rows; ++m)
      std::copy_n(product + m * kWidth<T>, columns, grad_x + (first + m) * I + column);
  };
  const bool few = N <= kFewRows;
  const int64_t threads = few ? 1 : std::min(N, useful_threads(multiply_adds(layer)));
  std::unique_ptr<T[]> panels;
  if (grad_x && !few)
    panels = pack_panels<T>(O, I, threads, [&, I = I, O = O](int64_t i, int64_t width, T* to) {
      pack_rows(w + i * kWidth<T>, I, O, width, to);
    });
  const T* const grad = grad_z ? grad_z : grad_y;
  std::vector<T> bias_parts(grad_bias ? threads * O : 0);
  for_shares(N, threads, [&, I = I, O = O](int64_t thread, int64_t share, int64_t share_end) {
    for_blocks(share, share_end, O, [&](int64_t begin, int64_t end) {
      if (grad_z)
        finish_rows(grad_y + begin * O, saved + begin * O, (end - begin) * O, grad_z + begin * O);
      if (grad_bias) add_columns(grad + begin * O, end - begin, O, bias_parts.data() + thread * O);
      if (panels) multiply_rows(grad, begin, end, O, panels.get(), I, store);
    });
  });
  if (grad_x && few) multiply_few_transposed(grad, N, O, w, I, store);
  if (grad_bias) add_parts(bias_parts.data(), threads, O, grad_bias);
}

// grad_weight [O, I] = grad_z^T x. Tasks are segments of rows by panels of inputs by blocks of
// outputs; there are several segments only where the others do not occupy the threads.
template <class T>
void backward_weight(const Layer& layer, const T* x, const T* grad_z, T* grad_weight) {
  const auto [N, I, O, activation] = layer;
  const int64_t threads = useful_threads(multiply_adds(layer));
  const int64_t panels = panel_count<T>(I), blocks = (O + kBlockOutputs - 1) / kBlockOutputs;
  const int64_t tasks = panels * blocks;
  const int64_t segments =
      std::clamp<int64_t>((threads + tasks - 1) / tasks, 1, std::max<int64_t>(N / kStepRows, 1));
  std::vector<T> parts(segments > 1 ? segments * O * I : 0);
  T* const to = segments > 1 ? parts.data() : grad_weight;
  // Tasks [begin, end) of a segment, step by step: the rows of a step are read from memory once.
  const auto run = [&, N = N, I = I, O = O](int64_t segment, int64_t begin, int64_t end,
                                            T* packed) {
    const int64_t start = segment * N / segments, last = (segment + 1) * N / segments;
    alignas(64) T product[kTileRows * kWidth<T>];
    for (int64_t first = start; first < last; first += kStepRows) {
      const int64_t depth = std::min(kStepRows, last - first);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t panel = i / blocks, block = i % blocks;
        const int64_t column = panel * kWidth<T>, columns = panel_columns<T>(panel, I);
        if (i == begin || block == 0) pack_rows(x + first * I + column, I, depth, columns, packed);
        for_row_tiles(block * O / blocks, (block + 1) * O / blocks, [&](int64_t o, int64_t rows) {
          T* const row = to + segment * O * I + o * I + column;
          const bool accumulate = first > start;
          for (int64_t m = 0; accumulate && m < rows; ++m)
            std::copy_n(row + m * I, columns, product + m * kWidth<T>);
          multiply<T>({grad_z + first * O + o, 1, O}, rows, depth,
                      packed_panel(packed, 0, depth, columns), product, kWidth<T>, accumulate);
          for (int64_t m = 0; m < rows; ++m)
            std::copy_n(product + m * kWidth<T>, columns, row + m * I);
        });
      }
    }
  };
  for_shares(segments * tasks, std::min(threads, segments * tasks),
             [&](int64_t, int64_t begin, int64_t end) {
               std::unique_ptr<T[]> packed(new T[std::min(kStepRows, N) * kWidth<T>]);
               for (int64_t s = begin / tasks; s * tasks < end; ++s)
                 run(s, std::max(begin - s * tasks, int64_t{0}), std::min(end - s * tasks, tasks),
                     packed.get());
             });
  if (segments > 1) add_parts(parts.data(), segments, O * I, grad_weight);
}

template <class Body>
void dispatch(const at::Tensor& x, const Body& body) {
  x.scalar_type() == at::kFloat ? body(float{}) : body(double{});
}

bool is_reduced(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}

// y, and z if it is wanted and f' needs it; else an empty tensor.
std::tuple<at::Tensor, at::Tensor> dense_forward(const at::Tensor& x, const at::Tensor& weight,
                                                 const std::optional<at::Tensor>& bias,
                                                 std::string_view activation,
                                                 bool with_preactivation) {
  const Layer layer = check_dense("dense", x, weight, bias, activation);
  if (is_reduced(x)) {
    std::optional<at::Tensor> bias_float;
    if (bias) bias_float = bias->to(at::kFloat);
    const auto [y, z] = dense_forward(x.to(at::kFloat), weight.to(at::kFloat), bias_float,
                                      activation, with_preactivation);
    return {y.to(x.scalar_type()), z.to(x.scalar_type())};
  }
  at::Tensor y = at::empty(output_shape(x, layer), x.options());
  const bool with_z = with_preactivation && needs_preactivation(layer.activation);
  at::Tensor z = at::empty(with_z ? y.sizes() : at::IntArrayRef{0}, x.options());
  if (y.numel() == 0) return {y, z};
  const auto x_rows = x.expect_contiguous(), w = weight.expect_contiguous();
  const at::Tensor b = bias ? bias->contiguous() : at::Tensor();
  dispatch(x, [&](auto type) {
    using T = decltype(type);
    forward(layer, x_rows->const_data_ptr<T>(), w->const_data_ptr<T>(),
            bias ? b.const_data_ptr<T>() : nullptr, y.data_ptr<T>(),
            with_z ? z.data_ptr<T>() : nullptr);
  });
  return {y, z};
}

at::Tensor dense(const at::Tensor& x, const at::Tensor& weight,
                 const std::optional<at::Tensor>& bias, std::string_view activation) {
  return std::get<0>(dense_forward(x, weight, bias, activation, false));
}

std::tuple<at::Tensor, at::Tensor> dense_with_preactivation(const at::Tensor& x,
                                                            const at::Tensor& weight,
                                                            const std::optional<at::Tensor>& bias,
                                                            std::string_view activation) {
  return dense_forward(x, weight, bias, activation, true);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> dense_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& weight,
    const at::Tensor& saved, std::string_view activation, std::array<bool, 3> output_mask) {
  const Layer layer = check_dense_backward(grad_y, x, weight, saved, activation);
  if (is_reduced(x)) {
    const auto [grad_x, grad_weight, grad_bias] =
        dense_backward(grad_y.to(at::kFloat), x.to(at::kFloat), weight.to(at::kFloat),
                       saved.to(at::kFloat), activation, output_mask);
    return {grad_x.to(x.scalar_type()), grad_weight.to(x.scalar_type()),
            grad_bias.to(x.scalar_type())};
  }
  const auto wanted = [&](bool is, at::IntArrayRef shape) {
    return at::empty(is ? shape : at::IntArrayRef{0}, x.options());
  };
  at::Tensor grad_x = wanted(output_mask[0], x.sizes());
  at::Tensor grad_weight = wanted(output_mask[1], weight.sizes());
  at::Tensor grad_bias = wanted(output_mask[2], {layer.out});
  if (layer.rows == 0 || layer.out == 0)
    return {grad_x.zero_(), grad_weight.zero_(), grad_bias.zero_()};
  const auto grad = grad_y.expect_contiguous(), x_rows = x.expect_contiguous(),
             w = weight.expect_contiguous(), kept = saved.expect_contiguous();
  const bool is_linear = layer.activation == ActivationKind::linear;
  at::Tensor grad_z = is_linear ? *grad : at::empty(grad_y.sizes(), x.options());
  dispatch(x, [&](auto type) {
    using T = decltype(type);
    backward_rows(layer, grad->const_data_ptr<T>(), kept->const_data_ptr<T>(),
                  w->const_data_ptr<T>(), is_linear ? nullptr : grad_z.data_ptr<T>(),
                  output_mask[0] ? grad_x.data_ptr<T>() : nullptr,
                  output_mask[2] ? grad_bias.data_ptr<T>() : nullptr);
    if (output_mask[1] && grad_weight.numel() > 0)
      backward_weight(layer, x_rows->const_data_ptr<T>(), grad_z.const_data_ptr<T>(),
                      grad_weight.data_ptr<T>());
  });
  return {grad_x, grad_weight, grad_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("dense", dense);
  m.impl("dense_with_preactivation", dense_with_preactivation);
  m.impl("dense_backward", dense_backward);
}

}  // namespace pyneural::dense
