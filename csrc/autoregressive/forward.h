// The forward of a block: the values of a layer, or of its inverse.
#pragma once

#include "../common/activation_rows.h"
#include "block.h"
#include "transform.h"

namespace pyneural::autoregressive {

template <class T>
class Forward : Block<T> {
 public:
  // Elements of working memory, which means nothing between two blocks.
  static int64_t working_size(const FlowLayer& layer, int64_t most_points) {
    return (layer.features + 1 + layer.parameters_of_feature) * Block<T>::stride_of(most_points);
  }

  Forward(const FlowLayer& layer, const Conditioner<T>& network, int64_t most_points, T* memory)
      : Block<T>(layer, network), transform_(layer) {
    const int64_t stride = this->stride_of(most_points);
    result_ = memory;
    ladj_ = result_ + layer.features * stride;
    working_ = ladj_ + stride;
    visit_activation(layer.activation, [&](auto f) { activate_ = activate<decltype(f), T>; });
  }

  // y of x, or of the inverse x of y, and ladj, which is added; what is kept is written to memory
  // of kept_units rows. The result may take the place of what is given.
  void operator()(Points<const T> given, const T* context, int64_t points, T* memory,
                  Points<T> result, T* ladj) {
    this->begin(points);
    kept_.emplace(layer_, memory, stride_);
    this->load_features(given, kept_->given);
    if (!layer_.by_substitution()) load_inputs(given);
    for (int64_t c = 0; c < layer_.context; ++c)
      this->load_column(context + c, layer_.context,
                        this->row(kept_->a[0], network_.context_row[c]));
    std::copy_n(kept_->given, layer_.staying * stride_, result_);
    std::fill_n(ladj_, stride_, T(0));
    std::vector<int64_t> done(layer_.layers() - 1, 0);
    const std::vector<Stage> whole{network_.everything};
    for (const Stage& stage : layer_.by_substitution() ? network_.substitution : whole) {
      compute_units(stage, done);
      compute_parameters(stage);
      transform_features(stage);
      done = stage.unit_end;
    }
    compute_units(network_.everything, done);  // those that no feature sees
    this->store_features(result_, result);
    for (int64_t n = 0; n < count_; ++n) ladj[n] += ladj_[n];
  }

 private:
  using Block<T>::layer_, Block<T>::network_, Block<T>::count_, Block<T>::vectors_,
      Block<T>::stride_;

  void load_inputs(Points<const T> x) const {
    for (int64_t d = 0; d < layer_.features; ++d)
      if (const int64_t input = network_.feature_row[d]; input >= 0)
        this->load_column(x.column(d), x.point, this->row(kept_->a[0], input));
  }

  // Units of a layer that see what is known by now.
  void compute(int64_t l, Range units, Activate<T> f) const {
    const MaskedLayer<T>& layer = network_.layers[l];
    T *const z = kept_->z[l + 1], *const a = kept_->a[l + 1];
    this->multiply_rows(
        layer.weight, layer.in_stride, units, kept_->a[l], a,
        [&](int64_t, int64_t last) { return Range{0, layer.visible[last]}; },
        [&](int64_t first, int64_t count, int64_t vectors, T* to) {
          f(count, vectors, layer.bias + first, z ? z + (to - a) : nullptr, to, stride_);
        });
  }

  // The hidden units of a stage that were not computed before.
  void compute_units(const Stage& stage, const std::vector<int64_t>& done) const {
    for (int64_t l = 0; l + 1 < layer_.layers(); ++l)
      compute(l, {done[l], stage.unit_end[l]}, activate_);
  }
  void compute_parameters(const Stage& stage) const {
    compute(layer_.layers() - 1, this->parameters_of(stage.feature_begin, stage.feature_end),
            activate<Linear, T>);
  }

  void transform_features(const Stage& stage) {
    for (int64_t f = stage.feature_begin; f < stage.feature_end; ++f) {
      const T* const parameters = this->row(kept_->a.back(), this->parameters_of(f, f).begin);
      transform_.forward(this->row(kept_->given, f), this->columns(), parameters, working_, stride_,
                         this->row(result_, f), ladj_);
      if (layer_.by_substitution())
        std::copy_n(this->row(result_, f), this->columns(),
                    this->row(kept_->a[0], this->input_of(f)));
    }
  }

  const Transform<T> transform_;
  Activate<T> activate_;
  std::optional<Activations<T>> kept_;
  T* result_;           // [features][n], sorted
  T *ladj_, *working_;  // [n], [P][n]
};

}  // namespace pyneural::autoregressive
