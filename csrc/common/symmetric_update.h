// The triangle of a Gram matrix G = X X^T [rows, rows], summed over blocks of the columns of X.
//
// Sums are in double. A tile of G is one thread's at a time and takes the blocks in their order, so
// that the bits depend on the blocks alone, not on the threads.
#pragma once

#include "parallel.h"
#include "triangle_panels.h"

namespace pyneural {

class SymmetricSum {
 public:
  // Elements of G.
  static int64_t storage(int64_t rows) { return TrianglePanels::storage(rows); }
  // Elements of a thread's scratch.
  static int64_t scratch() { return kWidth * kDepth; }

  // `sums`: storage(rows) long, not initialised.
  SymmetricSum(int64_t rows, double* sums) : rows_(rows), sums_(sums) {}

  // Adds x x^T for x [rows, depth], whose rows are row_stride elements apart. `scratch`: for every
  // thread.
  void add(const double* x, int64_t row_stride, int64_t depth, int64_t threads, double* scratch) {
    const int64_t count = panels(rows_);
    // With many threads a panel is shared, in parts of some tiles' height.
    const int64_t parts = std::clamp<int64_t>(4 * threads / count, 1, 8);
    std::atomic<int64_t> next{0};
    parallel_chunks(threads, threads, [&](int64_t thread, int64_t, int64_t) {
      double* const packed = scratch + thread * SymmetricSum::scratch();
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count * parts;)
        add_panel(x, row_stride, depth, count - 1 - task / parts, task % parts, parts, packed);
    });
    is_empty_ = false;
  }

  // to [rows, rows] row-major with `stride`, of the first `rows` alone: scale * G, whole.
  template <class Result>
  void store(double scale, int64_t rows, Result* to, int64_t stride, int64_t threads) const {
    parallel_tasks(panels(rows), threads, [&](int64_t panel) {
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
  static constexpr int64_t kTile = panel_width<double>();
  static constexpr int64_t kWidth = TrianglePanels::kWidth;
  // Columns of X of which a product is summed in registers: their part of a panel stays in the
  // second-level cache, and the sums of a tile are read and written once for as many.
  static constexpr int64_t kDepth = 640;

  static int64_t panels(int64_t rows) { return TrianglePanels::count(rows); }
  double* panel(int64_t i) const { return sums_ + TrianglePanels::begin(i); }

  template <class Result>
  void store_block(double scale, int64_t i0, int64_t i1, int64_t j0, int64_t j1, Result* to,
                   int64_t stride) const {
    for (int64_t i = i0; i < i1; ++i)
      for (int64_t j = std::max(i, j0); j < j1; ++j)
        to[i * stride + j] = to[j * stride + i] = static_cast<Result>(scale * at(i, j));
  }

  // Part `part` of `parts` of the rows of a panel, with the last one those on the diagonal.
  void add_panel(const double* x, int64_t row_stride, int64_t depth, int64_t index, int64_t part,
                 int64_t parts, double* packed) const {
    const int64_t first = index * kWidth, width = std::min(kWidth, rows_ - first);
    const int64_t begin = begin_of_part(part, parts, first);
    const int64_t end = begin_of_part(part + 1, parts, first);
    const bool has_diagonal = part + 1 == parts;
    if (begin == end && !has_diagonal) return;
    const int64_t blocks = (depth + kDepth - 1) / kDepth;
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t k = i * depth / blocks, block = (i + 1) * depth / blocks - k;
      for (int64_t n = 0; n < width; n += kTile)
        pack_transposed(x + (first + n) * row_stride + k, row_stride, block,
                        std::min(kTile, width - n), packed + n * block);
      const Block b{packed, block, vectors_of<double>(width), !is_empty_ || i > 0};
      const auto add_rows = [&](int64_t row, int64_t height, int64_t vector) {
        const Strided<double> a{x + row * row_stride + k, row_stride, 1};
        add_tiles(a, height, b, vector, panel(index) + row * kWidth);
      };
      for_row_tiles(begin, end, [&](int64_t row, int64_t height) { add_rows(row, height, 0); });
      // On the diagonal, the vectors that reach to it or beyond.
      if (has_diagonal)
        for_row_tiles(first, first + width, [&](int64_t row, int64_t height) {
          add_rows(row, height, (row - first) / lanes<double>());
        });
    }
  }

  // A block of the columns of X for a panel, packed for the product's tiles.
  struct Block {
    const double* data;
    int64_t depth, vectors;
    bool accumulate;
  };

  // sums [height][kWidth] = or += a b from a vector of the panel on.
  static void add_tiles(const Strided<double>& a, int64_t height, const Block& b, int64_t vector,
                        double* sums) {
    // They come from afar, and the product asks for them at its end.
    for (int64_t n = 0; n < height * kWidth; n += kCacheLine / sizeof(double))
      __builtin_prefetch(sums + n, 1);
    while (vector < b.vectors) {
      const int64_t tile = vector / kTileVectors, within = vector % kTileVectors;
      const int64_t count = std::min(kTileVectors - within, b.vectors - vector);
      const Panel<double> panel{b.data + tile * kTile * b.depth + within * lanes<double>(), kTile,
                                count};
      multiply(a, height, b.depth, panel, sums + vector * lanes<double>(), kWidth, b.accumulate);
      vector += count;
    }
  }

  int64_t rows_;
  double* sums_;
  bool is_empty_ = true;
};

}  // namespace pyneural
