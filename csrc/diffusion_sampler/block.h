// A block of rows on its way through all steps of a sampler, on the CPU.
//
// Letters: D features, C columns of the condition, H_1 outputs of the first layer, K values of the
// network that a step takes, n rows. Columns are stored one by one, [D][n], as activations are. A
// block is as many rows as a product takes at a time: all that belongs to it stays in the
// first-level cache, while the weights pass from the second.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "../common/vector_math.h"
#include "../mlp/packed_layers.h"
#include "diffusion_sampler_check.h"
#include "step.h"

namespace pyneural::diffusion_sampler {

// The operands of a call as its blocks need them; pointers are to contiguous tensors.
template <class T>
struct Plan {
  const Sampler& sampler;
  std::vector<mlp::Layer<T>> layers;            // the first one of the columns of x alone
  std::optional<PackedMatrix<T>> of_condition;  // [H_1, C], where there is a condition
  const T* biases;                              // [S][H_1], of the first layer
  const T* coefficients;                        // [S][2 + K]
  uint64_t seed;
};

template <class T>
class Block {
 public:
  static constexpr int64_t rows() { return panel_width<T>(); }

  explicit Block(const Plan<T>& plan) : plan_(plan) {
    const Sampler& sampler = plan.sampler;
    const auto take = [&](int64_t columns) { return scratch_.take<T>(columns * kStride); };
    int64_t widest = 0;
    for (size_t l = 0; l + 1 < plan.layers.size(); ++l)
      widest = std::max(widest, plan.layers[l].out);
    a_ = take(widest);
    next_ = take(widest);
    x_ = take(sampler.features);
    noise_ = take(round_up(sampler.features, kGroup));
    for (int64_t k = 0; k < sampler.memory; ++k) f_.push_back(take(sampler.features));
    if (!plan.of_condition) return;
    condition_ = take(sampler.condition);
    of_condition_ = take(sampler.width[1]);
    unconditional_ = take(sampler.features);
  }

  // y [count, D] from x [count, D] and the condition [count, C], or null, of rows from `first` on.
  void run(const T* x, const T* condition, int64_t first, int64_t count, T* y) {
    const Sampler& sampler = plan_.sampler;
    vectors_ = vectors_of<T>(count);
    load(x, sampler.features, count, x_);
    if (condition) {
      load(condition, sampler.condition, count, condition_);
      multiply(*plan_.of_condition, condition_, kStride, of_condition_, kStride, vectors_);
    }
    for (int64_t i = 0; i < sampler.steps; ++i) {
      evaluate(i, condition ? of_condition_ : nullptr, value(i));
      if (sampler.guidance != 0) guide(i, value(i));
      step(i, first);
    }
    transpose(x_, kStride, sampler.features, count, y, sampler.features);
  }

 private:
  static constexpr int64_t kStride = rows();

  // The last value is repeated up to a vector's end: what it becomes there is finite where the
  // rows' own are.
  void load(const T* from, int64_t columns, int64_t count, T* to) const {
    for (int64_t d = 0; d < columns; ++d)
      for (int64_t n = 0; n < vectors_ * lanes<T>(); ++n)
        to[d * kStride + n] = from[std::min(n, count - 1) * columns + d];
  }

  // Where the value of the network at a step is, until step i + K.
  T* value(int64_t i) const { return f_[i % plan_.sampler.memory]; }

  // f [D][n] of the network at x.
  void evaluate(int64_t i, const T* of_condition, T* f) {
    const size_t last = plan_.layers.size() - 1;
    const T* below = x_;
    T *to = a_, *other = next_;
    for (size_t l = 0; l <= last; ++l) {
      const mlp::Layer<T>& layer = plan_.layers[l];
      const T* const bias =
          l == 0 ? plan_.biases + i * layer.out : layer.bias.template const_data_ptr<T>();
      layer.compute(below, bias, l == 0 ? of_condition : nullptr, nullptr, l == last ? f : to,
                    kStride, vectors_);
      below = to;
      std::swap(to, other);
    }
  }

  // f += w (f - f without the condition)
  void guide(int64_t i, T* f) {
    evaluate(i, nullptr, unconditional_);
    const Vec<T> w(static_cast<T>(plan_.sampler.guidance));
    for_elements([&](int64_t n) {
      const Vec<T> with = Vec<T>::loadu(f + n);
      at::vec::fmadd(w, with - Vec<T>::loadu(unconditional_ + n), with).store(f + n);
    });
  }

  void step(int64_t i, int64_t first) {
    const int64_t memory = plan_.sampler.memory;
    const T *const row = plan_.coefficients + i * (kBeforeMemory + memory), *const b =
                                                                                row + kBeforeMemory;
    const bool is_noisy = row[1] != T(0);
    if (is_noisy) draw(i, first);
    const Vec<T> a(row[0]), c(row[1]);
    for_elements([&](int64_t n) {
      Vec<T> x = a * Vec<T>::loadu(x_ + n);
      if (is_noisy) x = at::vec::fmadd(c, Vec<T>::loadu(noise_ + n), x);
      for (int64_t k = std::min(i, memory - 1); k >= 0; --k)
        x = at::vec::fmadd(Vec<T>(b[k]), Vec<T>::loadu(value(i - k) + n), x);
      x.store(x_ + n);
    });
  }

  // Noise of step i for rows from `first` on, [D][n] and up to a whole group.
  void draw(int64_t i, int64_t first) {
    for (int64_t group = 0; group * kGroup < plan_.sampler.features; ++group) {
      uint32_t words[kGroup][kStride];
      for (int64_t n = 0; n < kStride; ++n) {
        uint32_t drawn[kGroup];
        draw_words(plan_.seed, first + n, i, group, drawn);
        for (int w = 0; w < kGroup; ++w) words[w][n] = drawn[w];
      }
      T* const to = noise_ + group * kGroup * kStride;
      for (int w = 0; w < kGroup; ++w)
        for (int64_t n = 0; n < kStride; ++n) to[w * kStride + n] = uniform<T>(words[w][n]);
      for (int w = 0; w < kGroup; w += 2)
        for (int64_t n = 0; n < vectors_ * lanes<T>(); n += lanes<T>()) {
          T *const even = to + w * kStride + n, *const odd = even + kStride;
          const Vec<T> radius = (Vec<T>(T(-2)) * Vec<T>::loadu(even).log()).sqrt();
          const Vec<T> angle = Vec<T>(T(kTwoPi)) * Vec<T>::loadu(odd);
          (radius * angle.cos()).store(even);
          (radius * angle.sin()).store(odd);
        }
    }
  }

  template <class Body>
  void for_elements(const Body& body) const {
    for (int64_t d = 0; d < plan_.sampler.features; ++d)
      for (int64_t n = d * kStride; n < d * kStride + vectors_ * lanes<T>(); n += lanes<T>())
        body(n);
  }

  const Plan<T>& plan_;
  Scratch scratch_;
  int64_t vectors_ = 0;
  T *a_, *next_;       // [widest][n]
  T *x_, *noise_;      // [D][n], the latter to a whole group
  std::vector<T*> f_;  // K of [D][n]
  T *condition_ = nullptr, *of_condition_ = nullptr, *unconditional_ = nullptr;  // [C], [H_1], [D]
};

}  // namespace pyneural::diffusion_sampler
