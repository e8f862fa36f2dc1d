// A recurrent layer forward on the CPU.
//
// Letters: T steps, N rows, I inputs, H hidden units, G gates, B blocks of a cell's gates. Hidden
// units are processed in unit blocks as wide as a panel, W. A row of the work buffer holds the
// gates of all unit blocks of a part, [unit blocks][B][W]: the input product of several steps is
// written there at once, then each step adds its hidden product and computes the new state from it
// while it is in the first-level cache.
#pragma once

#include <vector>

#include "../common/panels.h"
#include "../common/scratch.h"
#include "cell_rows.h"
#include "rnn_check.h"
#include "thread_groups.h"

namespace pyneural::rnn {

// Pointers of a call; those of what is not wanted are null. The strides of x are of its first two
// dimensions; the others are contiguous.
template <class T>
struct Pointers {
  const T *x, *h0, *c0, *weight_ih, *weight_hh, *bias_ih, *bias_hh;
  int64_t x_step, x_row;
  const int64_t* lengths;
};

// Units of a unit block.
template <class T>
int64_t units_in_block(int64_t unit_block, int64_t hidden) {
  return std::min(panel_width<T>(), hidden - unit_block * panel_width<T>());
}
template <class T>
int64_t first_unit(const ThreadPart& part) {
  return part.first_unit_block * panel_width<T>();
}
template <class T>
int64_t last_unit(const ThreadPart& part, int64_t hidden) {
  return std::min(hidden, part.last_unit_block * panel_width<T>());
}
// The part's elements of a state [N, H]; `to` may be null.
template <class T>
void copy_units(const ThreadPart& part, int64_t hidden, const T* from, T* to) {
  if (!to) return;
  const int64_t begin = first_unit<T>(part), end = last_unit<T>(part, hidden);
  for (int64_t n = part.first_row; n < part.last_row; ++n)
    std::copy(from + n * hidden + begin, from + n * hidden + end, to + n * hidden + begin);
}

// Rows of all steps that are worked on at a time: some 256 KiB of them, but enough that a weight is
// used often while it is in the cache.
inline int64_t steps_at_a_time(int64_t steps, int64_t rows, int64_t row_size) {
  const int64_t most = std::clamp<int64_t>((1 << 16) / std::max<int64_t>(row_size, 1), 256, 4096);
  return std::clamp<int64_t>(most / std::max<int64_t>(rows, 1), 1, steps);
}

// [G * H, depth] packed for products with its transpose: panel (group, gate) at group * G + gate.
template <class T>
T* pack_gates(Scratch& scratch, const T* weight, int64_t gates, int64_t hidden, int64_t depth,
              int64_t threads) {
  const int64_t unit_blocks = panel_count<T>(hidden), size = depth * panel_width<T>();
  T* const panels = scratch.take<T>(unit_blocks * gates * size);
  parallel_chunks(unit_blocks * gates, std::min(threads, unit_blocks * gates),
                  [&](int64_t, int64_t i, int64_t end) {
                    for (; i < end; ++i) {
                      const int64_t group = i / gates, gate = i % gates;
                      pack_transposed(weight + (gate * hidden + group * panel_width<T>()) * depth,
                                      depth, depth, units_in_block<T>(group, hidden),
                                      panels + i * size);
                    }
                  });
  return panels;
}

template <class T>
class Forward {
 public:
  // saved: [T, N, kSaved, H], or null.
  Forward(const Layer& layer, const Pointers<T>& p, const ThreadGroups& groups, T* y, T* h_n,
          T* c_n, T* saved)
      : layer_(layer),
        cell_(cell_rows<T>(layer.cell)),
        p_(p),
        groups_(groups),
        steps_{layer.steps, layer.reverse, p.lengths},
        y_(y),
        h_n_(h_n),
        c_n_(c_n),
        saved_(saved) {
    const int64_t H = layer.hidden, N = layer.rows;
    const int64_t packers = groups_.threads();
    weight_ih_ = pack_gates(scratch_, p.weight_ih, cell_.gates, H, layer.in, packers);
    weight_hh_ = pack_gates(scratch_, p.weight_hh, cell_.gates, H, H, packers);
    pack_bias();
    h_[0] = scratch_.take<T>(N * H);
    h_[1] = scratch_.take<T>(N * H);
    c_ = scratch_.take<T>(cell_.has_cell_state ? N * H : 0);
    std::copy_n(p.h0, N * H, h_[0]);
    if (cell_.has_cell_state) std::copy_n(p.c0, N * H, c_);
    const int64_t row_size = groups_.max_unit_blocks() * cell_.blocks * kWidth;
    steps_at_a_time_ = steps_at_a_time(layer.steps, groups_.max_rows(), row_size);
    const int64_t rows = steps_at_a_time_ * groups_.max_rows();
    for (int64_t i = 0; i < groups_.threads(); ++i)
      works_.push_back({groups_.part(i), row_size, scratch_.take<T>(rows * row_size),
                        scratch_.take<T>(rows * layer.in)});
  }

  void run() {
    run_thread_groups(
        groups_, [&](int64_t first, int64_t last, Sync sync) { run_steps(first, last, sync); });
  }

 private:
  static constexpr int64_t kWidth = panel_width<T>();

  struct Work {
    ThreadPart part;
    int64_t row_size;
    T* z;  // [steps at a time][rows][row_size]
    T* x;  // [steps at a time][rows][I]
  };

  // bias [unit blocks][B][W]: b_ih + b_hh, except in blocks that only one product reaches.
  void pack_bias() {
    const int64_t H = layer_.hidden, unit_blocks = panel_count<T>(H);
    bias_ = scratch_.take<T>(unit_blocks * cell_.blocks * kWidth);
    std::fill_n(bias_, unit_blocks * cell_.blocks * kWidth, T(0));
    for (int64_t u = 0; u < H; ++u) {
      T* const to = bias_ + u / kWidth * cell_.blocks * kWidth + u % kWidth;
      for (int g = 0; g < cell_.gates; ++g) {
        if (p_.bias_ih) to[cell_.input_block(g) * kWidth] += p_.bias_ih[g * H + u];
        if (p_.bias_hh) to[g * kWidth] += p_.bias_hh[g * H + u];
      }
    }
  }

  void run_steps(int64_t first, int64_t last, Sync sync) {
    for (int64_t s0 = 0; s0 < layer_.steps; s0 += steps_at_a_time_) {
      const int64_t s1 = std::min(layer_.steps, s0 + steps_at_a_time_);
      for (int64_t i = first; i < last; ++i) multiply_inputs(works_[i], s0, s1);
      for (int64_t s = s0; s < s1; ++s) {
        for (int64_t i = first; i < last; ++i) step(works_[i], s, s - s0);
        sync();
      }
    }
    const T* const h = h_[layer_.steps % 2];
    for (int64_t i = first; i < last; ++i) {
      copy_units(works_[i].part, layer_.hidden, h, h_n_);
      if (cell_.has_cell_state) copy_units<T>(works_[i].part, layer_.hidden, c_, c_n_);
    }
  }

  void multiply_inputs(const Work& work, int64_t s0, int64_t s1) const {
    const ThreadPart& part = work.part;
    const int64_t I = layer_.in, R = part.rows(), rows = (s1 - s0) * R;
    for (int64_t i = 0; i < rows; ++i)
      std::copy_n(p_.x + steps_.time(s0 + i / R) * p_.x_step + (part.first_row + i % R) * p_.x_row,
                  I, work.x + i * I);
    for (int64_t j = part.first_unit_block; j < part.last_unit_block; ++j) {
      const int64_t vectors = vectors_of<T>(units_in_block<T>(j, layer_.hidden));
      T* const group = work.z + (j - part.first_unit_block) * cell_.blocks * kWidth;
      for (int g = 0; g < cell_.gates; ++g) {
        const Panel<T> panel{weight_ih_ + (j * cell_.gates + g) * I * kWidth, kWidth, vectors};
        T* const z = group + cell_.input_block(g) * kWidth;
        for_row_tiles(0, rows, [&](int64_t first, int64_t count) {
          multiply<T>({work.x + first * I, I, 1}, count, I, panel, z + first * work.row_size,
                      work.row_size);
        });
        if (cell_.input_block(g) == g) continue;
        for (int64_t i = 0; i < rows; ++i)
          std::fill_n(group + i * work.row_size + g * kWidth, kWidth, T(0));
      }
    }
  }

  void step(const Work& work, int64_t s, int64_t s_in_work) const {
    const ThreadPart& part = work.part;
    const int64_t H = layer_.hidden, R = part.rows(), t = steps_.time(s);
    const T* const h = h_[s % 2] + part.first_row * H;
    T* const z = work.z + s_in_work * R * work.row_size;
    for (int64_t j = part.first_unit_block; j < part.last_unit_block; ++j) {
      const int64_t units = units_in_block<T>(j, H), vectors = vectors_of<T>(units);
      T* const group = z + (j - part.first_unit_block) * cell_.blocks * kWidth;
      const T* const panels = weight_hh_ + j * cell_.gates * H * kWidth;
      if (R == 1) {
        multiply_row(cell_.gates, h, H, panels, vectors, group);
      } else {
        for (int g = 0; g < cell_.gates; ++g)
          for_row_tiles(0, R, [&](int64_t first, int64_t count) {
            multiply<T>({h + first * H, H, 1}, count, H, {panels + g * H * kWidth, kWidth, vectors},
                        group + first * work.row_size + g * kWidth, work.row_size, true);
          });
      }
      for (int64_t r = 0; r < R; ++r)
        finish(group + r * work.row_size, j, units, t, part.first_row + r, s);
    }
  }

  // The new state of a row's group of units.
  void finish(const T* z, int64_t group, int64_t units, int64_t t, int64_t n, int64_t s) const {
    const int64_t H = layer_.hidden, N = layer_.rows, u0 = group * kWidth;
    const T *const before = h_[s % 2] + n * H + u0, *const bias =
                                                        bias_ + group * cell_.blocks * kWidth;
    T *const after = h_[(s + 1) % 2] + n * H + u0, *const y = y_ + (t * N + n) * H + u0;
    T* const to_saved = saved_ ? saved_ + (t * N + n) * cell_.saved * H + u0 : nullptr;
    if (!steps_.active(t, n)) {
      std::copy_n(before, units, after);
      std::fill_n(y, units, T(0));
      for (int k = 0; to_saved && k < cell_.saved; ++k) std::fill_n(to_saved + k * H, units, T(0));
      return;
    }
    T* const c = cell_.has_cell_state ? c_ + n * H + u0 : nullptr;
    cell_.step(units, H, {z, bias, before, c, after, y, to_saved});
  }

  const Layer& layer_;
  const CellRows<T> cell_;
  const Pointers<T>& p_;
  const ThreadGroups& groups_;
  const Steps steps_;
  T *y_, *h_n_, *c_n_, *saved_;
  Scratch scratch_;
  const T *weight_ih_, *weight_hh_;
  T *bias_, *h_[2], *c_;
  int64_t steps_at_a_time_ = 1;
  std::vector<Work> works_;
};

}  // namespace pyneural::rnn
