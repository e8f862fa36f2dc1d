// A whole multilayer perceptron on the CPU, forward and backward, a block of rows at a time.
//
// Letters: N rows, L layers, I and O a layer's inputs and outputs, R rows of a block, P parameters.
// A block goes through all layers while its activations are in the second-level cache; nothing but
// x is saved for the backward, which computes them anew. Rows of a block are padded to whole
// vectors, with zeros, so that they serve both operands of a product where they lie. Threads own
// contiguous chunks of the rows and a gradient each, added in the order of the threads.
#include <ATen/ops/zeros.h>

#include <vector>

#include "../common/dispatch.h"
#include "../common/panels.h"
#include "../common/parallel.h"
#include "../common/vector_math.h"
#include "mlp_ops.h"

namespace pyneural::mlp {
namespace {

// Elements of a block's activations: half of a usual second-level cache; the rest is the weights'.
constexpr int64_t kBlockElements = 1 << 16;

// z = product + bias and a = f(z) for a register tile; z may be null.
template <class T>
using Activate = void (*)(const T* product, int64_t rows, int64_t vectors, const T* bias, T* z,
                          T* a, int64_t ld);
template <class Activation, class T>
void activate(const T* product, int64_t rows, int64_t vectors, const T* bias, T* z, T* a,
              int64_t ld) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = 0; n < vectors * lanes<T>(); n += lanes<T>()) {
      const Vec<T> value =
          Vec<T>::loadu(product + m * panel_width<T>() + n) + Vec<T>::loadu(bias + n);
      Vec<T> f[1];
      Activation::template evaluate<0>(value, f);
      if (z) value.store(z + m * ld + n);
      f[0].store(a + m * ld + n);
    }
}

// grad *= f'(z), from a where f' is a function of it, else from z.
template <class T>
using ActivateBackward = void (*)(const T* saved, int64_t count, T* grad);
template <class Activation, class T>
void activate_backward(const T* saved, int64_t count, T* grad) {
  for (int64_t i = 0; i < count; i += lanes<T>()) {
    const Vec<T> of_a = Vec<T>::loadu(grad + i), from = Vec<T>::loadu(saved + i);
    multiply_by_slope<Activation>(of_a, from).store(grad + i);
  }
}

template <class T>
struct Layer {
  int64_t in, out;
  int64_t in_stride, out_stride;           // padded
  int64_t offset;                          // of its weight in the parameters; the bias follows
  std::unique_ptr<T[]> forward, backward;  // panels of W^T [I, O] and of W [O, I]
  std::unique_ptr<T[]> bias;               // padded to whole panels
  Activate<T> activate;
  ActivateBackward<T> activate_backward;
  bool saves_z;  // f' is no function of a
};

template <class T>
std::vector<Layer<T>> make_layers(const Network& network, at::TensorList weights,
                                  at::TensorList biases, bool with_backward) {
  std::vector<Layer<T>> layers;
  int64_t offset = 0;
  for (int64_t l = 0; l < network.layers(); ++l) {
    Layer<T> layer{};
    layer.in = network.width[l];
    layer.out = network.width[l + 1];
    layer.in_stride = whole_vectors<T>(layer.in);
    layer.out_stride = whole_vectors<T>(layer.out);
    layer.offset = offset;
    offset += layer.out * (layer.in + 1);
    const at::Tensor weight = weights[l].contiguous(), bias = biases[l].contiguous();
    const T* const w = weight.const_data_ptr<T>();
    constexpr int64_t kWidth = panel_width<T>();
    layer.forward.reset(new T[panel_count<T>(layer.out) * kWidth * layer.in]);
    for (int64_t i = 0; i < panel_count<T>(layer.out); ++i)
      pack_transposed(w + i * kWidth * layer.in, layer.in, layer.in,
                      std::min(kWidth, layer.out - i * kWidth),
                      layer.forward.get() + i * kWidth * layer.in);
    if (with_backward) {
      layer.backward.reset(new T[panel_count<T>(layer.in) * kWidth * layer.out]);
      for (int64_t i = 0; i < panel_count<T>(layer.in); ++i)
        pack_rows(w + i * kWidth, layer.in, layer.out, std::min(kWidth, layer.in - i * kWidth),
                  layer.backward.get() + i * kWidth * layer.out);
    }
    layer.bias.reset(new T[panel_count<T>(layer.out) * kWidth]());
    std::copy_n(bias.const_data_ptr<T>(), layer.out, layer.bias.get());
    layer.saves_z = needs_preactivation(network.activation(l));
    visit_activation(network.activation(l), [&](auto f) {
      layer.activate = activate<decltype(f), T>;
      layer.activate_backward = activate_backward<decltype(f), T>;
    });
    layers.push_back(std::move(layer));
  }
  return layers;
}

// One thread's block of rows on its way through the layers.
template <class T>
class Block {
 public:
  // Rows of a block: as many as keep all activations in the cache, but a few tiles at the least.
  static int64_t rows(const Network& network) {
    int64_t elements = 0;
    for (const int64_t width : network.width) elements += whole_vectors<T>(width);
    return std::clamp<int64_t>(kBlockElements / std::max<int64_t>(elements, 1), 4 * kTileRows, 240);
  }

  Block(const Network& network, const std::vector<Layer<T>>& layers, bool with_backward)
      : layers_(layers) {
    const int64_t block_rows = rows(network);
    int64_t widest = whole_vectors<T>(network.width[0]);
    a_.emplace_back(block_rows * widest);
    for (const Layer<T>& layer : layers) {
      a_.emplace_back(block_rows * layer.out_stride);
      z_.emplace_back(with_backward && layer.saves_z ? block_rows * layer.out_stride : 0);
      widest = std::max(widest, layer.out_stride);
    }
    if (with_backward) {
      grad_.resize(block_rows * widest);
      grad_next_.resize(block_rows * widest);
    }
  }

  // x [rows, I] to output().
  void forward(const T* x, int64_t rows) {
    rows_ = rows;
    copy_in(x, layers_[0].in, a_[0].data());
    for (size_t l = 0; l < layers_.size(); ++l) {
      const Layer<T>& layer = layers_[l];
      T* const z = z_[l].empty() ? nullptr : z_[l].data();
      multiply_all(
          a_[l].data(), layer.in_stride, layer.in, layer.forward.get(), layer.out,
          [&](int64_t first, int64_t count, int64_t column, int64_t vectors, const T* product) {
            const int64_t at = first * layer.out_stride + column;
            layer.activate(product, count, vectors, layer.bias.get() + column, z ? z + at : nullptr,
                           a_[l + 1].data() + at, layer.out_stride);
          });
    }
  }

  void copy_out(T* y) const {
    const Layer<T>& last = layers_.back();
    for (int64_t m = 0; m < rows_; ++m)
      std::copy_n(a_.back().data() + m * last.out_stride, last.out, y + m * last.out);
  }

  // After forward(): adds to the gradient [P], and fills grad_x [rows, I] where it is not null.
  void backward(const T* grad_y, T* gradient, T* grad_x) {
    copy_in(grad_y, layers_.back().out, grad_.data());
    for (int64_t l = static_cast<int64_t>(layers_.size()) - 1; l >= 0; --l) {
      const Layer<T>& layer = layers_[l];
      const std::vector<T>& saved = layer.saves_z ? z_[l] : a_[l + 1];
      layer.activate_backward(saved.data(), rows_ * layer.out_stride, grad_.data());
      if (gradient) add_gradient(layer, a_[l].data(), gradient + layer.offset);
      if (l == 0 && !grad_x) return;
      multiply_all(
          grad_.data(), layer.out_stride, layer.out, layer.backward.get(), layer.in,
          [&](int64_t first, int64_t count, int64_t column, int64_t vectors, const T* product) {
            for (int64_t m = 0; m < count; ++m)
              std::copy_n(product + m * panel_width<T>(), vectors * lanes<T>(),
                          grad_next_.data() + (first + m) * layer.in_stride + column);
          });
      std::swap(grad_, grad_next_);
    }
    const int64_t in = layers_[0].in;
    for (int64_t m = 0; m < rows_; ++m)
      std::copy_n(grad_.data() + m * layers_[0].in_stride, in, grad_x + m * in);
  }

 private:
  void copy_in(const T* from, int64_t width, T* to) const {
    const int64_t stride = whole_vectors<T>(width);
    for (int64_t m = 0; m < rows_; ++m) {
      std::copy_n(from + m * width, width, to + m * stride);
      std::fill(to + m * stride + width, to + (m + 1) * stride, T(0));
    }
  }

  // All rows of a, [rows][depth], times panels; use(first, rows, column, vectors, product).
  template <class Use>
  void multiply_all(const T* a, int64_t stride, int64_t depth, const T* panels, int64_t columns,
                    const Use& use) const {
    alignas(64) T product[kTileRows * panel_width<T>()];
    for (int64_t i = 0; i < panel_count<T>(columns); ++i) {
      const Panel<T> panel = packed_panel(panels, i, depth, columns);
      for_row_tiles(0, rows_, [&](int64_t first, int64_t count) {
        multiply<T>({a + first * stride, stride, 1}, count, depth, panel, product,
                    panel_width<T>());
        use(first, count, i * panel_width<T>(), panel.vectors, product);
      });
    }
  }

  // gradient: [O, I] += grad^T a, then [O] += the column sums of grad.
  void add_gradient(const Layer<T>& layer, const T* a, T* gradient) const {
    alignas(64) T product[kTileRows * panel_width<T>()];
    const int64_t in = layer.in;
    for (int64_t column = 0; column < in; column += panel_width<T>()) {
      const int64_t columns = std::min(panel_width<T>(), in - column);
      const Panel<T> panel{a + column, layer.in_stride, whole_vectors<T>(columns) / lanes<T>()};
      for_row_tiles(0, layer.out, [&](int64_t o, int64_t count) {
        T* const to = gradient + o * in + column;
        for (int64_t m = 0; m < count; ++m)
          std::copy_n(to + m * in, columns, product + m * panel_width<T>());
        multiply<T>({grad_.data() + o, 1, layer.out_stride}, count, rows_, panel, product,
                    panel_width<T>(), true);
        for (int64_t m = 0; m < count; ++m)
          std::copy_n(product + m * panel_width<T>(), columns, to + m * in);
      });
    }
    T* const bias = gradient + layer.out * in;
    for (int64_t n = 0; n < layer.out; n += lanes<T>()) {
      Vec<T> sum(T(0));
      for (int64_t m = 0; m < rows_; ++m)
        sum = sum + Vec<T>::loadu(grad_.data() + m * layer.out_stride + n);
      const auto count = static_cast<int>(std::min(lanes<T>(), layer.out - n));
      (Vec<T>::loadu(bias + n, count) + sum).store(bias + n, count);
    }
  }

  const std::vector<Layer<T>>& layers_;
  int64_t rows_ = 0;
  std::vector<std::vector<T>> a_;  // [L + 1] of [R][padded width]
  std::vector<std::vector<T>> z_;  // [L] likewise, empty where it is not saved
  std::vector<T> grad_, grad_next_;
};

// body(thread, block, first row, number of rows) for blocks of all rows.
template <class T, class Body>
void for_blocks(const Network& network, const std::vector<Layer<T>>& layers, int64_t threads,
                bool with_backward, const Body& body) {
  parallel_chunks(network.rows, threads, [&](int64_t thread, int64_t begin, int64_t end) {
    Block<T> block(network, layers, with_backward);
    const int64_t block_rows = Block<T>::rows(network),
                  blocks = (end - begin + block_rows - 1) / block_rows;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t first = begin + i * (end - begin) / blocks;
      body(thread, block, first, begin + (i + 1) * (end - begin) / blocks - first);
    }
  });
}

int64_t threads_for(const Network& network) {
  const double work = static_cast<double>(network.rows) * static_cast<double>(network.parameters);
  return std::min(network.rows, useful_threads(work));
}

struct Kernels {
  static void forward(const Network& network, const at::Tensor& x, at::TensorList weights,
                      at::TensorList biases, const at::Tensor& y) {
    dispatch_floating(x, [&](auto type) {
      using T = decltype(type);
      const std::vector<Layer<T>> layers = make_layers<T>(network, weights, biases, false);
      const T* const from = x.const_data_ptr<T>();
      T* const to = y.data_ptr<T>();
      for_blocks(network, layers, threads_for(network), false,
                 [&](int64_t, Block<T>& block, int64_t first, int64_t rows) {
                   block.forward(from + first * network.width.front(), rows);
                   block.copy_out(to + first * network.width.back());
                 });
    });
  }

  static void backward(const Network& network, const at::Tensor& grad_y, const at::Tensor& x,
                       at::TensorList weights, at::TensorList biases, const at::Tensor& grad_x,
                       const at::Tensor& grad_parameters) {
    const int64_t threads = threads_for(network), size = grad_parameters.numel();
    const at::Tensor parts = threads == 1 ? grad_parameters.zero_().unsqueeze(0)
                                          : at::zeros({threads, size}, x.options());
    dispatch_floating(x, [&](auto type) {
      using T = decltype(type);
      const std::vector<Layer<T>> layers = make_layers<T>(network, weights, biases, true);
      const T *const from = x.const_data_ptr<T>(), *const grad_from = grad_y.const_data_ptr<T>();
      T *const to = data_or_null<T>(grad_x), *const gradients = data_or_null<T>(parts);
      const int64_t in = network.width.front(), out = network.width.back();
      for_blocks(network, layers, threads, true,
                 [&](int64_t thread, Block<T>& block, int64_t first, int64_t rows) {
                   block.forward(from + first * in, rows);
                   block.backward(grad_from + first * out,
                                  gradients ? gradients + thread * size : nullptr,
                                  to ? to + first * in : nullptr);
                 });
    });
    if (threads > 1) grad_parameters.copy_(sum_parts(parts));
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::mlp
