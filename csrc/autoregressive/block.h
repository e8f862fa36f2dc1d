// A block of points on its way through an autoregressive layer, forward and backward.
//
// Letters: U units of a layer, P parameters of a feature's transform, n points. Units are rows and
// points are columns, [U][n]: a product multiplies rows of weights with vectors of points, however
// few units of a degree there are, and a transform is one of vectors of points.
#pragma once

#include "../common/parallel.h"
#include "../common/vector_math.h"
#include "affine.h"
#include "conditioner.h"

namespace pyneural::autoregressive {

// z += bias and a = f(z) for some rows, in place; z is kept where it is not null.
template <class T>
using Activate = void (*)(T* a, int64_t rows, int64_t vectors, int64_t stride, const T* bias, T* z);
template <class Activation, class T>
void activate(T* a, int64_t rows, int64_t vectors, int64_t stride, const T* bias, T* z) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = m * stride; n < m * stride + vectors * lanes<T>(); n += lanes<T>()) {
      const Vec<T> value = Vec<T>::loadu(a + n) + Vec<T>(bias[m]);
      Vec<T> f[1];
      Activation::template evaluate<0>(value, f);
      if (z) value.store(z + n);
      f[0].store(a + n);
    }
}

// grad *= f'(z), from a where f' is a function of it, else from z.
template <class T>
using ActivateBackward = void (*)(const T* saved, int64_t rows, int64_t vectors, int64_t stride,
                                  T* grad);
template <class Activation, class T>
void activate_backward(const T* saved, int64_t rows, int64_t vectors, int64_t stride, T* grad) {
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t n = m * stride; n < m * stride + vectors * lanes<T>(); n += lanes<T>())
      multiply_by_slope<Activation>(Vec<T>::loadu(grad + n), Vec<T>::loadu(saved + n))
          .store(grad + n);
}

// The rows [begin, end) of a product.
struct Range {
  int64_t begin, end;
};

// Transform is Affine<T> or spline::Spline<T>.
template <class T, class Transform>
class Block {
 public:
  // Points of a block: as many as keep all that belongs to them in half of the second-level cache;
  // an odd number of panels, so that rows do not share a few sets of the caches.
  static int64_t points(const FlowLayer& layer, bool with_backward) {
    int64_t elements = layer.features;
    for (const int64_t width : layer.width) elements += width * (with_backward ? 2 : 1);
    const int64_t cached = caches().level2 / 2 / (elements * static_cast<int64_t>(sizeof(T)));
    const int64_t useful = (layer.rows + panel_width<T>() - 1) / panel_width<T>();
    return std::min(std::clamp<int64_t>(cached / panel_width<T>(), 3, 15) | 1, useful | 1) *
           panel_width<T>();
  }

  Block(const FlowLayer& layer, const Conditioner<T>& network, const Transform& transform,
        bool with_backward, Scratch& scratch)
      : layer_(layer),
        network_(network),
        transform_(transform),
        stride_(points(layer, with_backward)) {
    const auto take = [&](int64_t rows) { return scratch.take<T>(rows * stride_); };
    const bool saves_z = with_backward && needs_preactivation(layer.activation);
    for (const int64_t width : layer.width) {
      a_.push_back(take(width));
      z_.push_back(saves_z ? take(width) : nullptr);
      grad_.push_back(with_backward ? take(width) : nullptr);
    }
    grad_.back() = a_.back();  // where the transforms leave those of their parameters
    given_ = take(layer.features);
    result_ = take(layer.features);
    ladj_ = take(1);
    working_ = take(layer.parameters_of_feature);
    int64_t widest = 0;
    for (const MaskedLayer<T>& each : network.layers) widest = std::max(widest, each.in_stride);
    transposed_ = with_backward ? take(widest) : nullptr;
    if (with_backward) std::fill_n(transposed_, widest * stride_, T(0));
    visit_activation(layer.activation, [&](auto f) {
      activate_ = activate<decltype(f), T>;
      activate_backward_ = activate_backward<decltype(f), T>;
    });
  }

  // y and ladj of x, or of the inverse x and ladj of y.
  void forward(const T* given, const T* context, int64_t count, T* result, T* ladj) {
    count_ = count;
    vectors_ = vectors_of<T>(count);
    load_features(given, given_);
    load_inputs(layer_.by_substitution() ? nullptr : given, context);
    std::copy_n(given_, layer_.staying * stride_, result_);
    std::fill_n(ladj_, stride_, T(0));
    if (layer_.by_substitution()) {
      std::vector<int64_t> done(layer_.layers() - 1, 0);
      for (const Stage& stage : network_.substitution) {
        compute_parameters(stage, done);
        transform_features(stage);
        done = stage.unit_end;
      }
    } else {
      compute_parameters(network_.everything, std::vector<int64_t>(layer_.layers() - 1, 0));
      transform_features(network_.everything);
    }
    store_features(result_, result);
    std::copy_n(ladj_, count_, ladj);
  }

  // Adds to the gradient of the parameters and fills grad_given and grad_context, each where it is
  // not null. x: what the network has seen, which the inverse gave and else was given.
  void backward(const T* given, const T* context, const T* x, const T* grad_result,
                const T* grad_ladj, int64_t count, T* gradient, T* grad_given, T* grad_context) {
    count_ = count;
    vectors_ = vectors_of<T>(count);
    load_features(given, given_);
    load_inputs(x, context);
    const std::vector<int64_t> none(layer_.layers() - 1, 0);
    compute_parameters(network_.everything, none);
    load_features(grad_result, result_);
    std::copy_n(grad_ladj, count_, ladj_);
    std::fill(ladj_ + count_, ladj_ + vectors_ * lanes<T>(), T(0));

    if (layer_.by_substitution()) {
      // The substitution backwards. Units that no feature sees have no gradient.
      const std::vector<Stage>& stages = network_.substitution;
      for (int64_t l = 1; l < layer_.layers(); ++l)
        std::fill(grad_[l] + stages.back().unit_end[l - 1] * stride_,
                  grad_[l] + layer_.width[l] * stride_, T(0));
      for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
        // Features of one order are neighbours among the inputs.
        differentiate_inputs(0, {input_of(stage->feature_begin),
                                 input_of(stage->feature_end - 1) + 1});
        add_gradients_by_network({stage->feature_begin, stage->feature_end});
        differentiate_features(*stage);
        differentiate_units(*stage, stage + 1 == stages.rend() ? none : (stage + 1)->unit_end);
      }
    } else {
      differentiate_features(network_.everything);
      differentiate_units(network_.everything, none);
      if (grad_given || grad_context) differentiate_inputs(0, {0, layer_.width[0]});
      if (grad_given)
        add_gradients_by_network({0, layer_.staying > 0 ? layer_.staying : layer_.features});
    }
    if (gradient) add_gradients(gradient);
    if (grad_given) store_features(result_, grad_given);
    if (grad_context) store_context(grad_context);
  }

 private:
  T* row(T* rows, int64_t i) const { return rows + i * stride_; }
  int64_t input_of(int64_t sorted_feature) const {
    return network_.feature_row[network_.feature_at[sorted_feature]];
  }
  // The rows of the parameters of some sorted features.
  Range parameters_of(int64_t begin, int64_t end) const {
    const int64_t P = layer_.parameters_of_feature;
    return {(begin - layer_.staying) * P, (end - layer_.staying) * P};
  }

  // to [n] from a column of [n, columns], 0 up to the vector's end.
  void load_column(const T* from, int64_t columns, T* to) const {
    for (int64_t n = 0; n < count_; ++n) to[n] = from[n * columns];
    std::fill(to + count_, to + vectors_ * lanes<T>(), T(0));
  }
  void load_features(const T* from, T* to) const {
    for (int64_t f = 0; f < layer_.features; ++f)
      load_column(from + network_.feature_at[f], layer_.features, row(to, f));
  }
  void load_inputs(const T* x, const T* context) const {
    for (int64_t d = 0; x && d < layer_.features; ++d)
      if (const int64_t input = network_.feature_row[d]; input >= 0)
        load_column(x + d, layer_.features, row(a_[0], input));
    for (int64_t c = 0; c < layer_.context; ++c)
      load_column(context + c, layer_.context, row(a_[0], network_.context_row[c]));
  }
  void store_features(const T* from, T* to) const {
    for (int64_t f = 0; f < layer_.features; ++f)
      for (int64_t n = 0; n < count_; ++n)
        to[n * layer_.features + network_.feature_at[f]] = from[f * stride_ + n];
  }

  // The rows of a matrix times b, over the columns that columns_of(first row, last row) tells;
  // use(first row, rows, vectors, their products in place).
  template <class ColumnsOf, class Use>
  void multiply_rows(const T* matrix, int64_t matrix_stride, Range rows, const T* b, T* product,
                     const ColumnsOf& columns_of, const Use& use) const {
    for (int64_t v = 0; v < vectors_; v += kTileVectors) {
      const int64_t vectors = std::min<int64_t>(kTileVectors, vectors_ - v);
      for_row_tiles(rows.begin, rows.end, [&](int64_t first, int64_t count) {
        const Range columns = columns_of(first, first + count - 1);
        T* const to = product + first * stride_ + v * lanes<T>();
        multiply<T>({matrix + first * matrix_stride + columns.begin, matrix_stride, 1}, count,
                    columns.end - columns.begin,
                    {b + columns.begin * stride_ + v * lanes<T>(), stride_, vectors}, to, stride_);
        use(first, count, vectors, to);
      });
    }
  }

  // Units of a layer that see what is known by now.
  void compute_units(int64_t l, Range units, Activate<T> f) const {
    const MaskedLayer<T>& layer = network_.layers[l];
    T *const z = z_[l + 1], *const a = a_[l + 1];
    multiply_rows(
        layer.weight, layer.in_stride, units, a_[l], a,
        [&](int64_t, int64_t last) { return Range{0, layer.visible[last]}; },
        [&](int64_t first, int64_t count, int64_t vectors, T* to) {
          f(to, count, vectors, stride_, layer.bias + first, z ? z + (to - a) : nullptr);
        });
  }

  // The units of a stage that were not computed before, and its parameters.
  void compute_parameters(const Stage& stage, const std::vector<int64_t>& done) const {
    const int64_t last = layer_.layers() - 1;
    for (int64_t l = 0; l < last; ++l) compute_units(l, {done[l], stage.unit_end[l]}, activate_);
    compute_units(last, parameters_of(stage.feature_begin, stage.feature_end), activate<Linear, T>);
  }

  // The gradients of a layer's inputs from those of the outputs that see them.
  void differentiate_inputs(int64_t l, Range inputs) const {
    const MaskedLayer<T>& layer = network_.layers[l];
    multiply_rows(
        layer.transposed, layer.out_stride, inputs, grad_[l + 1], grad_[l],
        [&](int64_t first, int64_t) { return Range{layer.first[first], layer.out}; },
        [](int64_t, int64_t, int64_t, T*) {});
  }

  void differentiate_units(const Stage& stage, const std::vector<int64_t>& end) const {
    for (int64_t l = layer_.layers() - 1; l > 0; --l) {
      const int64_t begin = end[l - 1], rows = stage.unit_end[l - 1] - begin;
      differentiate_inputs(l, {begin, begin + rows});
      const T* const saved = z_[l] ? z_[l] : a_[l];
      activate_backward_(saved + begin * stride_, rows, vectors_, stride_,
                         grad_[l] + begin * stride_);
    }
  }

  void transform_features(const Stage& stage) {
    for (int64_t f = stage.feature_begin; f < stage.feature_end; ++f) {
      T* const parameters = row(a_.back(), parameters_of(f, f).begin);
      for (int64_t n = 0; n < vectors_ * lanes<T>(); n += lanes<T>()) {
        const auto [value, ladj] = evaluate(transform_, Vec<T>::loadu(row(given_, f) + n),
                                            parameters + n, parameters + n, stride_);
        value.store(row(result_, f) + n);
        (Vec<T>::loadu(ladj_ + n) + ladj).store(ladj_ + n);
      }
      if (layer_.by_substitution())
        std::copy_n(row(result_, f), vectors_ * lanes<T>(), row(a_[0], input_of(f)));
    }
  }

  // From the gradients of the results, in their place those of what was given by the transforms.
  void differentiate_features(const Stage& stage) {
    for (int64_t f = stage.feature_begin; f < stage.feature_end; ++f) {
      T* const parameters = row(a_.back(), parameters_of(f, f).begin);
      T* const grad = row(result_, f);
      for (int64_t n = 0; n < vectors_ * lanes<T>(); n += lanes<T>())
        differentiate(transform_, Vec<T>::loadu(row(given_, f) + n), Vec<T>::loadu(grad + n),
                      Vec<T>::loadu(ladj_ + n), parameters + n, working_ + n, stride_)
            .store(grad + n);
    }
  }

  // Adds what reaches some sorted features as inputs of the network.
  void add_gradients_by_network(Range features) {
    for (int64_t f = features.begin; f < features.end; ++f)
      for (int64_t n = 0; n < vectors_ * lanes<T>(); n += lanes<T>())
        (Vec<T>::loadu(row(result_, f) + n) + Vec<T>::loadu(row(grad_[0], input_of(f)) + n))
            .store(row(result_, f) + n);
  }

  void store_context(T* to) const {
    const int64_t begin = network_.context_row.front();
    if (layer_.by_substitution()) differentiate_inputs(0, {begin, begin + layer_.context});
    for (int64_t c = 0; c < layer_.context; ++c)
      for (int64_t n = 0; n < count_; ++n)
        to[n * layer_.context + c] = row(grad_[0], network_.context_row[c])[n];
  }

  // gradient: for each layer [U][in_stride], sorted, of which masked elements mean nothing; then
  // [U] of the bias.
  void add_gradients(T* gradient) const {
    for (int64_t l = 0; l < layer_.layers(); ++l) {
      const MaskedLayer<T>& layer = network_.layers[l];
      T* const weight = gradient + layer.offset;
      transpose(a_[l], stride_, layer.in, count_, transposed_, layer.in_stride);
      for (int64_t i = 0; i < layer.in; i += panel_width<T>()) {
        const int64_t vectors = vectors_of<T>(std::min(panel_width<T>(), layer.in - i));
        for_row_tiles(layer.first[i], layer.out, [&](int64_t o, int64_t rows) {
          multiply<T>({row(grad_[l + 1], o), stride_, 1}, rows, count_,
                      {transposed_ + i, layer.in_stride, vectors}, weight + o * layer.in_stride + i,
                      layer.in_stride, true);
        });
      }
      T* const bias = weight + layer.out * layer.in_stride;
      for (int64_t o = 0; o < layer.out; ++o) {
        Vec<T> sum(T(0));
        for (int64_t n = 0; n < vectors_ * lanes<T>(); n += lanes<T>())
          sum = sum + Vec<T>::loadu(row(grad_[l + 1], o) + n);
        bias[o] += lane_sum(sum);
      }
    }
  }

  const FlowLayer& layer_;
  const Conditioner<T>& network_;
  const Transform& transform_;
  int64_t stride_, count_ = 0, vectors_ = 0;
  Activate<T> activate_;
  ActivateBackward<T> activate_backward_;
  std::vector<T*> a_;     // [L + 1] of [U][n]: inputs, activations of hidden units, parameters
  std::vector<T*> z_;     // [L + 1] likewise, of hidden units, null where it is not saved
  std::vector<T*> grad_;  // [L + 1] likewise
  T *given_, *result_;    // [features][n], sorted
  T *ladj_, *working_;    // [n], [P][n]
  T* transposed_;         // [n][U], inputs of a layer; what is behind its rows means nothing
};

}  // namespace pyneural::autoregressive
