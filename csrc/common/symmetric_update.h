// The triangle of a Gram matrix G = X X^T [rows, rows], summed over blocks of the columns of X.
//
// G is held as panels, each as wide as a product's tile and as high as the triangle is there: half
// the memory of the matrix, and a tile's sums lie together. Sums are in double. A tile of G is one
// thread's at a time and takes the blocks in their order, so that the bits depend on the blocks
// alone, not on the threads.
#pragma once

#include "panels.h"
#include "parallel.h"

namespace pyneural {

class SymmetricSum {
 public:
  // Elements of G.
  static int64_t storage(int64_t rows) {
    const int64_t panels = panel_count<double>(rows);
    return kWidth * kWidth * panels * (panels + 1) / 2;
  }
  // Elements of a thread's scratch.
  static int64_t scratch() { return kWidth * kDepth; }

  // `sums`: storage(rows) long, not initialised.
  SymmetricSum(int64_t rows, double* sums) : rows_(rows), sums_(sums) {}

  // Adds x x^T for x [rows, depth], whose rows are row_stride elements apart. `scratch`: for every
  // thread.
  void add(const double* x, int64_t row_stride, int64_t depth, int64_t threads, double* scratch) {
    const int64_t panels = panel_count<double>(rows_);
    // With many threads the highest panels are shared, in parts of some tiles' height.
    const int64_t parts = std::clamp<int64_t>(4 * threads / panels, 1, 8);
    std::atomic<int64_t> next{0};
    parallel_chunks(threads, threads, [&](int64_t thread, int64_t, int64_t) {
      double* const packed = scratch + thread * SymmetricSum::scratch();
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < panels * parts;)
        add_panel(x, row_stride, depth, panels - 1 - task / parts, task % parts, parts, packed);
    });
    is_empty_ = false;
  }

  // to [rows, rows] row-major with `stride`, of the first `rows` alone: scale * G, whole.
  template <class Result>
  void store(double scale, int64_t rows, Result* to, int64_t stride, int64_t threads) const {
    parallel_tasks(panel_count<double>(rows), threads, [&](int64_t panel) {
      const int64_t first = panel * kWidth, last = std::min(first + kWidth, rows);
      constexpr int64_t kBlock = 8;
      for (int64_t i0 = 0; i0 < last; i0 += kBlock)
        for (int64_t j0 = std::max(first, i0); j0 < last; j0 += kBlock)
          store_block(scale, i0, std::min(i0 + kBlock, last), j0, std::min(j0 + kBlock, last), to,
                      stride);
    });
  }

  // Element (i, j), i <= j.
  double at(int64_t i, int64_t j) const { return panel(j / kWidth)[i * kWidth + j % kWidth]; }

 private:
  static constexpr int64_t kWidth = panel_width<double>();
  // Columns of x of which a product is summed in registers: their part of a panel stays in the
  // second-level cache, and the sums of a tile are read and written once for as many.
  static constexpr int64_t kDepth = 512;

  double* panel(int64_t i) const { return sums_ + kWidth * kWidth * i * (i + 1) / 2; }

  template <class Result>
  void store_block(double scale, int64_t i0, int64_t i1, int64_t j0, int64_t j1, Result* to,
                   int64_t stride) const {
    for (int64_t i = i0; i < i1; ++i)
      for (int64_t j = std::max(i, j0); j < j1; ++j)
        to[i * stride + j] = to[j * stride + i] = static_cast<Result>(scale * at(i, j));
  }

  void add_panel(const double* x, int64_t row_stride, int64_t depth, int64_t index, int64_t part,
                 int64_t parts, double* packed) const {
    const int64_t first = index * kWidth, width = std::min(kWidth, rows_ - first);
    const int64_t begin = begin_of_part(part, parts, first);
    const int64_t end = begin_of_part(part + 1, parts, first);
    const bool has_diagonal = part + 1 == parts;
    if (begin == end && !has_diagonal) return;
    double* const sums = panel(index);
    for (int64_t k = 0; k < depth; k += kDepth) {
      const int64_t block = std::min(kDepth, depth - k);
      pack_transposed(x + first * row_stride + k, row_stride, block, width, packed);
      const bool accumulate = !is_empty_ || k > 0;
      const auto add_tile = [&](int64_t row, int64_t height, int64_t vector) {
        const Strided<double> a{x + row * row_stride + k, row_stride, 1};
        const Panel<double> b{packed + vector * lanes<double>(), kWidth,
                              vectors_of<double>(width) - vector};
        multiply(a, height, block, b, sums + row * kWidth + vector * lanes<double>(), kWidth,
                 accumulate);
      };
      for_row_tiles(begin, end, [&](int64_t row, int64_t height) { add_tile(row, height, 0); });
      // On the diagonal, the vectors that reach to it or beyond.
      if (has_diagonal)
        for_row_tiles(first, first + width, [&](int64_t row, int64_t height) {
          add_tile(row, height, (row - first) / lanes<double>());
        });
    }
  }

  int64_t rows_;
  double* sums_;
  bool is_empty_ = true;
};

}  // namespace pyneural
