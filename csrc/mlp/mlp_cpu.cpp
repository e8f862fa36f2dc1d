// A whole multilayer perceptron on the CPU, forward and backward, a block of rows at a time.
//
// Letters: N rows, L layers, I and O a layer's inputs and outputs, R rows of a block, P parameters.
// A block goes through all layers while its activations are in the cache; nothing but x is saved
// for the backward, which computes them anew. They are stored unit by unit, [O][R], so that vectors
// run along the rows and no width has to be a multiple of their length; R is whole vectors, the
// last ones repeating a row. Threads take shares of the rows, each with a gradient, added in the
// order of the shares.
#include <ATen/ops/empty.h>

#include <vector>

#include "../common/dispatch.h"
#include "../common/shares.h"
#include "mlp_ops.h"
#include "packed_layers.h"

namespace pyneural::mlp {
namespace {

// One thread's block of rows on its way through the layers.
template <class T>
class Block {
 public:
  // Rows of a block: long rows of units amortise the start of a product, as in the tiles of the jet
  // ops, as long as all activations stay in some megabytes.
  static int64_t rows(const Network& network, int64_t threads) {
    constexpr int64_t kRows = 384, kElements = 1 << 17;
    int64_t units = 0;
    for (const int64_t width : network.width) units += width;
    const int64_t share = (network.rows + threads - 1) / threads,
                  most = std::min(kRows, kElements / std::max<int64_t>(units, 1));
    return round_up(std::clamp<int64_t>(most, 1, std::max<int64_t>(share, 1)), panel_width<T>());
  }

  Block(const Network& network, const std::vector<Layer<T>>& layers, int64_t rows,
        bool with_backward)
      : layers_(layers) {
    // An odd number of cache lines spreads the units over the sets of the cache.
    constexpr int64_t kLine = kCacheLine / static_cast<int64_t>(sizeof(T));
    stride_ = round_up(rows, kLine);
    if (stride_ / kLine % 2 == 0) stride_ += kLine;
    int64_t widest = network.width[0];
    a_.push_back(scratch_.take<T>(widest * stride_));
    for (const Layer<T>& layer : layers) {
      a_.push_back(scratch_.take<T>(layer.out * stride_));
      z_.push_back(with_backward && layer.saves_z ? scratch_.take<T>(layer.out * stride_)
                                                  : nullptr);
      widest = std::max(widest, layer.out);
    }
    if (with_backward) {
      grad_ = scratch_.take<T>(widest * stride_);
      grad_next_ = scratch_.take<T>(widest * stride_);
    }
  }

  // x [rows, I] to output().
  void forward(const T* x, int64_t rows) {
    rows_ = rows;
    copy_in(x, layers_[0].in, a_[0]);
    for (int64_t m = rows; m < vectors() * lanes<T>(); ++m)
      for (int64_t i = 0; i < layers_[0].in; ++i) a_[0][i * stride_ + m] = a_[0][i * stride_];
    for (size_t l = 0; l < layers_.size(); ++l) {
      const T* const bias = layers_[l].bias.template const_data_ptr<T>();
      layers_[l].compute(a_[l], bias, nullptr, z_[l], a_[l + 1], stride_, vectors());
    }
  }

  void copy_out(T* y) const {
    const int64_t out = layers_.back().out;
    transpose(a_.back(), stride_, out, rows_, y, out);
  }

  // After forward(): adds to the gradient [P], and fills grad_x [rows, I] where it is not null.
  void backward(const T* grad_y, T* gradient, T* grad_x) {
    const int64_t outputs = layers_.back().out;
    copy_in(grad_y, outputs, grad_);
    clear_padding(outputs, grad_);
    for (int64_t l = static_cast<int64_t>(layers_.size()) - 1; l >= 0; --l) {
      const Layer<T>& layer = layers_[l];
      layer.activate_backward(layer.out, vectors(), layer.saves_z ? z_[l] : a_[l + 1], grad_,
                              stride_);
      clear_padding(layer.out, grad_);
      clear_padding(layer.in, a_[l]);
      if (gradient) add_gradient(layer, a_[l], gradient + layer.offset);
      if (l == 0 && !grad_x) return;
      multiply(*layer.backward, grad_, stride_, grad_next_, stride_, vectors());
      std::swap(grad_, grad_next_);
    }
    transpose(grad_, stride_, layers_[0].in, rows_, grad_x, layers_[0].in);
  }

 private:
  int64_t vectors() const { return vectors_of<T>(rows_); }

  // What repeats a row counts for nothing, an infinity neither.
  void clear_padding(int64_t width, T* rows) const {
    for (int64_t i = 0; i < width; ++i)
      std::fill(rows + i * stride_ + rows_, rows + i * stride_ + vectors() * lanes<T>(), T(0));
  }

  // to [width][R] = from [R, width].
  void copy_in(const T* from, int64_t width, T* to) const {
    transpose(from, width, rows_, width, to, stride_);
  }

  // gradient: [O, I] += grad a^T, then [O] += the row sums of grad.
  void add_gradient(const Layer<T>& layer, const T* a, T* gradient) const {
    accumulate_dots(layer.out, layer.in, vectors(), grad_, stride_, a, stride_, gradient, layer.in);
    T* const bias = gradient + layer.out * layer.in;
    for (int64_t o = 0; o < layer.out; ++o) {
      Vec<T> sum(T(0));
      for (int64_t v = 0; v < vectors(); ++v)
        sum = sum + Vec<T>::loadu(grad_ + o * stride_ + v * lanes<T>());
      bias[o] += lane_sum(sum);
    }
  }

  const std::vector<Layer<T>>& layers_;
  Scratch scratch_;
  int64_t rows_ = 0, stride_;
  std::vector<T*> a_;                         // [L + 1] of [width][stride_]
  std::vector<T*> z_;                         // [L] likewise, null where it is not saved
  T *grad_ = nullptr, *grad_next_ = nullptr;  // [widest][stride_]
};

template <class T>
Shares shares_of(const Network& network, int64_t threads) {
  constexpr int64_t kLeastRows = 256;
  return Shares::with_sums(network.rows, threads,
                           network.parameters * static_cast<int64_t>(sizeof(T)), kLeastRows);
}

// body(share, block, first row, number of rows) for blocks of all rows.
template <class T, class Body>
void for_blocks(const Network& network, const std::vector<Layer<T>>& layers, int64_t threads,
                const Shares& shares, bool with_backward, const Body& body) {
  parallel_takers(shares.count(), threads, [&](int64_t, Tasks& tasks) {
    const int64_t block_rows = Block<T>::rows(network, threads);
    Block<T> block(network, layers, block_rows, with_backward);
    while (const auto share = tasks.take()) {
      const int64_t begin = shares.begin(*share), end = shares.end(*share);
      // Nearly equal blocks of whole panels.
      const int64_t blocks = (end - begin + block_rows - 1) / block_rows;
      const int64_t size = round_up((end - begin + blocks - 1) / blocks, panel_width<T>());
      for (int64_t first = begin; first < end; first += size)
        body(*share, block, first, std::min(size, end - first));
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
      Scratch scratch;
      const auto layers = make_layers<T>(scratch, network, weights, biases, false);
      const T* const from = x.const_data_ptr<T>();
      T* const to = y.data_ptr<T>();
      const int64_t threads = threads_for(network);
      for_blocks(network, layers, threads, shares_of<T>(network, threads), false,
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
    dispatch_floating(x, [&](auto type) {
      using T = decltype(type);
      const Shares shares = shares_of<T>(network, threads);
      const bool is_one = shares.count() == 1;
      const at::Tensor parts =
          is_one ? grad_parameters.unsqueeze(0) : at::empty({shares.count(), size}, x.options());
      Scratch scratch;
      const auto layers = make_layers<T>(scratch, network, weights, biases, true);
      const T *const from = x.const_data_ptr<T>(), *const grad_from = grad_y.const_data_ptr<T>();
      T *const to = data_or_null<T>(grad_x), *const gradients = data_or_null<T>(parts);
      const int64_t in = network.width.front(), out = network.width.back();
      for_blocks(network, layers, threads, shares, true,
                 [&](int64_t share, Block<T>& block, int64_t first, int64_t rows) {
                   T* const gradient = gradients ? gradients + share * size : nullptr;
                   if (gradient && first == shares.begin(share)) std::fill_n(gradient, size, T(0));
                   block.forward(from + first * in, rows);
                   block.backward(grad_from + first * out, gradient,
                                  to ? to + first * in : nullptr);
                 });
      if (!is_one) grad_parameters.copy_(sum_parts(parts));
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::mlp
