// The backward of a block, from the activations that its forward kept.
#pragma once

#include "../common/activation_rows.h"
#include "block.h"
#include "transform.h"

namespace pyneural::autoregressive {

// Where the gradients of some points go, each where it is not null; those of the context are added,
// and those of the parameters unless these points are the first. They are for each matrix
// [U][in_stride], sorted, of which masked elements mean nothing, then [U] of the bias.
template <class T>
struct Gradients {
  T* parameters;
  bool is_first;
  Points<T> given;
  T* context;
};

template <class T>
class Backward : Block<T> {
 public:
  // Elements of working memory, which means nothing between two blocks.
  static int64_t working_size(const FlowLayer& layer, int64_t most_points) {
    int64_t rows = layer.features + 1 + layer.parameters_of_feature;
    for (const int64_t width : layer.width) rows += width;
    return rows * Block<T>::stride_of(most_points) + widest(layer) * most_points;
  }

  Backward(const FlowLayer& layer, const Conditioner<T>& network, int64_t most_points, T* memory)
      : Block<T>(layer, network), transform_(layer) {
    const int64_t stride = this->stride_of(most_points);
    const auto take = [&](int64_t rows) {
      T* const taken = memory;
      memory += rows * stride;
      return taken;
    };
    for (const int64_t width : layer.width) grad_.push_back(take(width));
    result_ = take(layer.features);
    ladj_ = take(1);
    working_ = take(layer.parameters_of_feature);
    transposed_ = memory;
    visit_activation(layer.activation,
                     [&](auto f) { activate_backward_ = activate_backward<decltype(f), T>; });
  }

  // memory: what the forward kept. The gradients of what was given may take the place of those of
  // the results.
  void operator()(Points<const T> grad_result, const T* grad_ladj, int64_t points, const T* memory,
                  const Gradients<T>& to) {
    this->begin(points);
    kept_.emplace(layer_, memory, stride_);
    this->load_features(grad_result, result_);
    this->load_column(grad_ladj, 1, ladj_);
    const std::vector<int64_t> none(layer_.layers() - 1, 0);

    if (layer_.by_substitution()) {
      // The substitution backwards. Units that no feature sees have no gradient.
      const std::vector<Stage>& stages = network_.substitution;
      for (int64_t l = 1; l < layer_.layers(); ++l)
        std::fill(this->row(grad_[l], stages.back().unit_end[l - 1]),
                  this->row(grad_[l], layer_.width[l]), T(0));
      for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
        // Features of one order are neighbours among the inputs.
        differentiate_inputs(
            0, {this->input_of(stage->feature_begin), this->input_of(stage->feature_end - 1) + 1});
        add_gradients_by_network({stage->feature_begin, stage->feature_end});
        differentiate_features(*stage);
        differentiate_units(*stage, stage + 1 == stages.rend() ? none : (stage + 1)->unit_end);
      }
      if (to.context) {
        const int64_t begin = network_.context_row.front();
        differentiate_inputs(0, {begin, begin + layer_.context});
      }
    } else {
      differentiate_features(network_.everything);
      differentiate_units(network_.everything, none);
      if (to.given.data || to.context) differentiate_inputs(0, {0, layer_.width[0]});
      if (to.given.data)
        add_gradients_by_network({0, layer_.staying > 0 ? layer_.staying : layer_.features});
    }
    if (to.parameters) add_gradients(to.parameters, to.is_first);
    if (to.given.data) this->store_features(result_, to.given);
    if (to.context) add_context(to.context);
  }

 private:
  using Block<T>::layer_, Block<T>::network_, Block<T>::count_, Block<T>::vectors_,
      Block<T>::stride_;

  // Elements of a row of transposed inputs.
  static int64_t widest(const FlowLayer& layer) {
    return odd_lines<T>(*std::max_element(layer.width.begin(), layer.width.end() - 1));
  }

  // The gradients of a layer's inputs from those of the outputs that see them; use(first row, rows,
  // vectors, the gradients in place) for each tile. `needed` are rows of the same inputs that are
  // read next.
  template <class Use>
  void differentiate_inputs(int64_t l, Range inputs, const T* needed, const Use& use) const {
    const MaskedLayer<T>& layer = network_.layers[l];
    this->multiply_rows(
        layer.transposed, layer.out_stride, inputs, grad_[l + 1], grad_[l],
        [&](int64_t first, int64_t) { return Range{layer.first[first], layer.out}; }, use, needed);
  }
  void differentiate_inputs(int64_t l, Range inputs) const {
    differentiate_inputs(l, inputs, nullptr, [](int64_t, int64_t, int64_t, T*) {});
  }

  void differentiate_units(const Stage& stage, const std::vector<int64_t>& end) const {
    for (int64_t l = layer_.layers() - 1; l > 0; --l) {
      // Fetched during the product of a tile, and read while that is in the first-level cache.
      const T* const saved = kept_->z[l] ? kept_->z[l] : kept_->a[l];
      differentiate_inputs(l, {end[l - 1], stage.unit_end[l - 1]}, saved,
                           [&](int64_t, int64_t rows, int64_t vectors, T* grad) {
                             activate_backward_(rows, vectors, saved + (grad - grad_[l]), grad,
                                                stride_);
                           });
    }
  }

  // From the gradients of the results, in their place those of what was given by the transforms.
  void differentiate_features(const Stage& stage) {
    const auto [begin, end] = this->parameters_of(stage.feature_begin, stage.feature_end);
    // The gradients of parameters take the place of these.
    std::copy(this->row(kept_->a.back(), begin), this->row(kept_->a.back(), end),
              this->row(grad_.back(), begin));
    for (int64_t f = stage.feature_begin; f < stage.feature_end; ++f) {
      T* const parameters = this->row(grad_.back(), this->parameters_of(f, f).begin);
      transform_.backward(this->row(kept_->given, f), this->columns(), ladj_, parameters, working_,
                          stride_, this->row(result_, f));
    }
  }

  // Adds what reaches some sorted features as inputs of the network.
  void add_gradients_by_network(Range features) {
    for (int64_t f = features.begin; f < features.end; ++f) {
      T *const total = this->row(result_, f), *const grad = this->row(grad_[0], this->input_of(f));
      for (int64_t n = 0; n < this->columns(); n += lanes<T>())
        (Vec<T>::loadu(total + n) + Vec<T>::loadu(grad + n)).store(total + n);
    }
  }

  void add_context(T* to) const {
    for (int64_t c = 0; c < layer_.context; ++c)
      for (int64_t n = 0; n < count_; ++n)
        to[n * layer_.context + c] += this->row(grad_[0], network_.context_row[c])[n];
  }

  // Of up to so many inputs products would fill a part of a vector only, where dots fill all.
  static constexpr int64_t kFewInputs = 8;

  void add_products(int64_t l, T* weight, bool is_first) const {
    const MaskedLayer<T>& layer = network_.layers[l];
    transpose(kept_->a[l], stride_, layer.in, count_, transposed_, layer.in_stride);
    const int64_t read = round_up(layer.in, lanes<T>());
    for (int64_t n = 0; n < count_ && read > layer.in; ++n)
      std::fill_n(transposed_ + n * layer.in_stride + layer.in, read - layer.in, T(0));
    for (int64_t i = 0; i < layer.in; i += panel_width<T>()) {
      const int64_t vectors = vectors_of<T>(std::min(panel_width<T>(), layer.in - i));
      for_row_tiles(layer.first[i], layer.out, [&](int64_t o, int64_t rows) {
        multiply<T>({this->row(grad_[l + 1], o), stride_, 1}, rows, count_,
                    {transposed_ + i, layer.in_stride, vectors}, weight + o * layer.in_stride + i,
                    layer.in_stride, !is_first);
      });
    }
  }

  void add_gradients(T* gradient, bool is_first) const {
    for (int64_t l = 0; l < layer_.layers(); ++l) {
      const MaskedLayer<T>& layer = network_.layers[l];
      T* const weight = gradient + layer.offset;
      T* const bias = weight + layer.out * layer.in_stride;
      if (is_first) std::fill(layer.in <= kFewInputs ? weight : bias, bias + layer.out, T(0));
      if (layer.in <= kFewInputs)
        accumulate_dots<T>(layer.out, layer.in, vectors_, grad_[l + 1], stride_, kept_->a[l],
                           stride_, weight, layer.in_stride);
      else
        add_products(l, weight, is_first);
      for (int64_t o = 0; o < layer.out; ++o) {
        Vec<T> sum(T(0));
        for (int64_t n = 0; n < this->columns(); n += lanes<T>())
          sum = sum + Vec<T>::loadu(this->row(grad_[l + 1], o) + n);
        bias[o] += lane_sum(sum);
      }
    }
  }

  const Transform<T> transform_;
  ActivateBackward<T> activate_backward_;
  std::optional<Activations<const T>> kept_;
  std::vector<T*> grad_;  // [L + 1] of [U][n]
  T* result_;             // [features][n], sorted, the gradients of the results
  T *ladj_, *working_;    // [n], [P][n]
  T* transposed_;         // [n][U], inputs of a layer, 0 up to the end of a vector
};

}  // namespace pyneural::autoregressive
