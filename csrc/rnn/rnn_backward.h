// The gradients of a recurrent layer on the CPU. Letters as in rnn_forward.h.
//
// The steps run backward. A row of the work buffer holds the gradients z of a step's gates, [B][H].
// Several steps are buffered until there are enough rows for the products with x and h, which are
// added to the weights' gradients while the rows are in the cache. Each thread group has weight
// gradients of its own, summed in the order of the groups; a rank owns the gates of its units.
#pragma once

#include <optional>

#include "rnn_forward.h"

namespace pyneural::rnn {

// Further inputs of a backward, and its outputs; null where one is not wanted.
template <class T>
struct Gradients {
  const T *grad_y, *grad_h_n, *grad_c_n, *y, *saved;
  T *x, *h0, *c0, *weight_ih, *weight_hh, *bias_ih, *bias_hh;  // of the weights: [groups][...]
};

template <class T>
class Backward {
 public:
  Backward(const Layer& layer, const Pointers<T>& p, const ThreadGroups& groups,
           const Gradients<T>& g)
      : layer_(layer),
        cell_(cell_rows<T>(layer.cell)),
        p_(p),
        groups_(groups),
        g_(g),
        steps_{layer.steps, layer.reverse, p.lengths} {
    const int64_t H = layer.hidden, N = layer.rows, I = layer.in;
    weight_hh_ = pack_rows_of(p.weight_hh, H);
    if (g.x) weight_ih_ = pack_rows_of(p.weight_ih, I);
    dh_ = scratch_.take<T>(N * H);
    dc_ = scratch_.take<T>(cell_.has_cell_state ? N * H : 0);
    std::copy_n(g.grad_h_n, N * H, dh_);
    if (cell_.has_cell_state) std::copy_n(g.grad_c_n, N * H, dc_);
    // A line more than the gates of a row: with lines a power of two apart, a column of z would lie
    // in one set of the caches.
    z_stride_ = round_up(cell_.blocks * H, kLine) + kLine;
    steps_at_a_time_ = steps_at_a_time(layer.steps, groups.max_rows(), z_stride_);
    const int64_t rows = steps_at_a_time_ * groups.max_rows();
    for (int64_t group = 0; group < groups.count; ++group)
      z_.push_back(scratch_.take<T>(rows * z_stride_));
    const int64_t units = groups.max_unit_blocks() * kWidth;
    for (int64_t i = 0; i < groups.threads(); ++i)
      works_.push_back({groups.part(i), i / groups.size, i % groups.size,
                        scratch_.take<T>(rows * kWidth),
                        scratch_.take<T>(cell_.blocks * PackedMatrix<T>::storage(units, rows))});
  }

  void run() {
    run_thread_groups(
        groups_, [&](int64_t first, int64_t last, Sync sync) { run_steps(first, last, sync); });
  }

 private:
  static constexpr int64_t kWidth = panel_width<T>(),
                           kLine = kCacheLine / static_cast<int64_t>(sizeof(T));
  struct Work {
    ThreadPart part;
    int64_t group, rank;
    T* panel;   // [rows][W] of x or h
    T* packed;  // the gradients of z, transposed
  };

  // [G * H, columns] packed for products with it.
  T* pack_rows_of(const T* weight, int64_t columns) {
    const int64_t depth = cell_.gates * layer_.hidden, panels = panel_count<T>(columns);
    T* const to = scratch_.take<T>(panels * depth * kWidth);
    parallel_chunks(panels, std::min(groups_.threads(), panels),
                    [&](int64_t, int64_t i, int64_t end) {
                      for (; i < end; ++i)
                        pack_rows(weight + i * kWidth, columns, depth,
                                  std::min(kWidth, columns - i * kWidth), to + i * depth * kWidth);
                    });
    return to;
  }

  void run_steps(int64_t first, int64_t last, Sync sync) {
    for (int64_t end = layer_.steps; end > 0; end -= steps_at_a_time_) {
      const int64_t begin = std::max<int64_t>(0, end - steps_at_a_time_);
      for (int64_t s = end - 1; s >= begin; --s) {
        for (int64_t i = first; i < last; ++i) through_gates(works_[i], s, s - begin);
        sync();
        for (int64_t i = first; i < last; ++i) through_weights(works_[i], s - begin);
      }
      for (int64_t i = first; i < last; ++i) {
        add_weight_gradients(works_[i], begin, end);
        if (g_.x) input_gradients(works_[i], begin, end);
      }
      sync();
    }
    for (int64_t i = first; i < last; ++i) {
      copy_units(works_[i].part, layer_.hidden, dh_, g_.h0);
      if (cell_.has_cell_state) copy_units<T>(works_[i].part, layer_.hidden, dc_, g_.c0);
    }
  }

  // Row (step in the buffer, row of the part) of a group's gradients of z.
  T* z_row(const Work& work, int64_t step, int64_t row) const {
    return z_[work.group] + (step * work.part.rows() + row) * z_stride_;
  }

  const T* h_before(int64_t t, int64_t n) const {
    return steps_.first(t, n) ? p_.h0 + n * layer_.hidden
                              : g_.y + (steps_.before(t) * layer_.rows + n) * layer_.hidden;
  }

  // Gradients of z, of the part's units, from dh and dc.
  void through_gates(const Work& work, int64_t s, int64_t s_in_work) const {
    const ThreadPart& part = work.part;
    const int64_t H = layer_.hidden, N = layer_.rows, t = steps_.time(s);
    const int64_t u0 = first_unit<T>(part), units = last_unit<T>(part, H) - u0;
    for (int64_t n = part.first_row; n < part.last_row; ++n) {
      T* const to = z_row(work, s_in_work, n - part.first_row) + u0;
      if (!steps_.active(t, n)) {
        for (int b = 0; b < cell_.blocks; ++b) std::fill_n(to + b * H, units, T(0));
        continue;
      }
      const int64_t at = (t * N + n) * H + u0;
      const T *const before = h_before(t, n) + u0, *const y = g_.y + at,
                     *const grad_y = g_.grad_y + at;
      const T* const from_saved = g_.saved + (t * N + n) * cell_.saved * H + u0;
      const T* c_before = nullptr;
      if (cell_.has_cell_state)
        c_before =
            (steps_.first(t, n)
                 ? p_.c0 + n * H
                 : g_.saved + ((steps_.before(t) * N + n) * cell_.saved + cell_.saved - 1) * H) +
            u0;
      T* const dc = cell_.has_cell_state ? dc_ + n * H + u0 : nullptr;
      cell_.differentiate(units, H,
                          {from_saved, y, before, c_before, grad_y, dh_ + n * H + u0, dc, to});
    }
  }

  // dh of the part's units += the gradients of the hidden products' z times the weights.
  void through_weights(const Work& work, int64_t s_in_work) const {
    const ThreadPart& part = work.part;
    const int64_t H = layer_.hidden, R = part.rows(), depth = cell_.gates * H;
    const T* const z = z_row(work, s_in_work, 0);
    for (int64_t j = part.first_unit_block; j < part.last_unit_block; ++j) {
      const int64_t units = units_in_block<T>(j, H), vectors = vectors_of<T>(units);
      const T* const panel = weight_hh_ + j * depth * kWidth;
      T* const dh = dh_ + part.first_row * H + j * kWidth;
      if (R == 1) {
        alignas(64) T product[kWidth] = {};
        multiply_row(1, z, depth, panel, vectors, product);
        for (int64_t u = 0; u < units; ++u) dh[u] += product[u];
        continue;
      }
      for (int64_t k = 0; k < depth; k += block_depth<T>()) {
        const int64_t some = std::min(block_depth<T>(), depth - k);
        for_row_tiles(0, R, [&](int64_t first, int64_t count) {
          multiply_columns<T>({z + first * z_stride_ + k, z_stride_, 1}, count, some,
                              {panel + k * kWidth, kWidth, vectors}, dh + first * H, H, units,
                              /*accumulate=*/true);
        });
      }
    }
  }

  // The gradients of z of some rows, transposed: a left operand with a row for each unit of a part.
  class Transposed {
   public:
    // Packed to `storage` where it serves more than a few panels.
    Transposed(int blocks, const T* z, int64_t hidden, int64_t z_stride, int64_t units,
               int64_t rows, int64_t panels, T* storage) {
      constexpr int64_t kFewPanels = 4;
      for (int b = 0; b < blocks; ++b) {
        blocks_[b] = {z + b * hidden, 1, z_stride};
        if (panels > kFewPanels)
          packed_[b].emplace(blocks_[b], units, rows,
                             storage + b * PackedMatrix<T>::storage(units, rows));
      }
    }

    Strided<T> tile(int block, int64_t first, int64_t height) const {
      return packed_[block] ? packed_[block]->tile(first, height) : blocks_[block].from(first, 0);
    }

   private:
    Strided<T> blocks_[kMostBlocks];
    std::optional<PackedMatrix<T>> packed_[kMostBlocks];
  };

  // Gradients of the weights and biases that the part's units own, of the steps [begin, end).
  void add_weight_gradients(const Work& work, int64_t begin, int64_t end) const {
    const int64_t H = layer_.hidden, I = layer_.in, gates = cell_.gates * H;
    const auto x_row = [&](int64_t t, int64_t n) { return p_.x + t * p_.x_step + n * p_.x_row; };
    const auto h_row = [&](int64_t t, int64_t n) { return h_before(t, n); };
    if (g_.weight_ih || g_.weight_hh) {
      const int64_t u0 = first_unit<T>(work.part), units = last_unit<T>(work.part, H) - u0,
                    panels = (g_.weight_ih ? panel_count<T>(I) : 0) +
                             (g_.weight_hh ? panel_count<T>(H) : 0);
      const Transposed z(cell_.blocks, z_row(work, 0, 0) + u0, H, z_stride_, units,
                         (end - begin) * work.part.rows(), panels, work.packed);
      if (g_.weight_ih)
        add_products(work, z, begin, end, x_row, I, true, g_.weight_ih + work.group * gates * I);
      if (g_.weight_hh)
        add_products(work, z, begin, end, h_row, H, false, g_.weight_hh + work.group * gates * H);
    }
    if (g_.bias_ih) add_sums(work, end - begin, true, g_.bias_ih + work.group * gates);
    if (g_.bias_hh) add_sums(work, end - begin, false, g_.bias_hh + work.group * gates);
  }

  int block_of(int gate, bool of_input) const { return of_input ? cell_.input_block(gate) : gate; }

  // to [G * H, columns] += the sum over the rows of the gradient of z times row(t, n).
  template <class Row>
  void add_products(const Work& work, const Transposed& z, int64_t begin, int64_t end,
                    const Row& row, int64_t columns, bool of_input, T* to) const {
    const ThreadPart& part = work.part;
    const int64_t H = layer_.hidden, R = part.rows(), rows = (end - begin) * R;
    const int64_t u0 = first_unit<T>(part), units = last_unit<T>(part, H) - u0;
    for (int64_t column = 0; column < columns; column += kWidth) {
      const int64_t width = std::min(kWidth, columns - column);
      for (int64_t s = begin; s < end; ++s) {
        const int64_t t = steps_.time(s);
        for (int64_t r = 0; r < R; ++r) {
          const int64_t n = part.first_row + r;
          T* const packed = work.panel + ((s - begin) * R + r) * kWidth;
          // Elements beyond a sequence's end may be NaN.
          const int64_t used = steps_.active(t, n) ? width : 0;
          if (used) std::copy_n(row(t, n) + column, used, packed);
          std::fill(packed + used, packed + kWidth, T(0));
        }
      }
      const Panel<T> panel{work.panel, kWidth, vectors_of<T>(width)};
      for (int g = 0; g < cell_.gates; ++g)
        for_row_tiles(0, units, [&](int64_t first, int64_t count) {
          multiply_columns<T>(z.tile(block_of(g, of_input), first, count), count, rows, panel,
                              to + (g * H + u0 + first) * columns + column, columns, width,
                              /*accumulate=*/true);
        });
    }
  }

  // to [G * H] += the sum over the rows of the gradient of z.
  void add_sums(const Work& work, int64_t steps, bool of_input, T* to) const {
    const int64_t H = layer_.hidden, rows = steps * work.part.rows();
    const int64_t u0 = first_unit<T>(work.part), u1 = last_unit<T>(work.part, H);
    for (int g = 0; g < cell_.gates; ++g) {
      const T* const z = z_row(work, 0, 0) + block_of(g, of_input) * H;
      for (int64_t u = u0; u < u1; u += lanes<T>()) {
        const auto count = std::min(lanes<T>(), u1 - u);
        Vec<T> sum(T(0));
        for (int64_t i = 0; i < rows; ++i) sum = sum + Vec<T>::loadu(z + i * z_stride_ + u, count);
        (Vec<T>::loadu(to + g * H + u, count) + sum).store(to + g * H + u, count);
      }
    }
  }

  // grad_x of the steps [begin, end); the ranks of a group share the rows.
  void input_gradients(const Work& work, int64_t begin, int64_t end) const {
    const ThreadPart& part = work.part;
    const int64_t H = layer_.hidden, I = layer_.in, R = part.rows(), ld = z_stride_;
    const int64_t rows = (end - begin) * R, joint = cell_.joint() * H,
                  apart = (cell_.gates - cell_.joint()) * H;
    alignas(64) T product[kTileRows * kWidth];
    for (int64_t column = 0; column < I; column += kWidth) {
      const int64_t width = std::min(kWidth, I - column), vectors = vectors_of<T>(width);
      const T* const panel = weight_ih_ + column * cell_.gates * H;
      for_row_tiles(
          work.rank * rows / groups_.size, (work.rank + 1) * rows / groups_.size,
          [&](int64_t first, int64_t count) {
            const T* const z = z_row(work, 0, 0) + first * ld;
            multiply<T>({z, ld, 1}, count, joint, {panel, kWidth, vectors}, product, kWidth);
            if (apart > 0)
              multiply<T>({z + cell_.input_block(cell_.gates - 1) * H, ld, 1}, count, apart,
                          {panel + joint * kWidth, kWidth, vectors}, product, kWidth, true);
            for (int64_t m = 0; m < count; ++m) {
              const int64_t t = steps_.time(begin + (first + m) / R),
                            n = part.first_row + (first + m) % R;
              std::copy_n(product + m * kWidth, width, g_.x + (t * layer_.rows + n) * I + column);
            }
          });
    }
  }

  const Layer& layer_;
  const CellRows<T> cell_;
  const Pointers<T>& p_;
  const ThreadGroups& groups_;
  const Gradients<T>& g_;
  const Steps steps_;
  Scratch scratch_;
  const T *weight_hh_, *weight_ih_ = nullptr;
  T *dh_, *dc_;
  int64_t steps_at_a_time_ = 1;
  int64_t z_stride_ = 0;
  std::vector<T*> z_;  // [groups] of [steps at a time][rows][z_stride_], of which [B][H] count
  std::vector<Work> works_;
};

}  // namespace pyneural::rnn
