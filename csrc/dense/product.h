// The products of a dense layer, blocked for the caches and divided among threads.
//
//   c [rows, columns] = a b^T    for a [rows, depth], b [columns, depth]
//
// A thread packs the columns that it needs and no others, so that none waits for another's.
#pragma once

#include <limits>
#include <optional>

#include "../common/panels.h"
#include "../common/parallel.h"
#include "../common/scratch.h"

namespace pyneural::dense {

struct Range {
  int64_t begin, end;

  int64_t size() const { return end - begin; }
  // Part i of nearly equal `parts`.
  Range part(int64_t i, int64_t parts) const {
    return {begin + i * size() / parts, begin + (i + 1) * size() / parts};
  }
};

// Threads in a grid over a product: each has a rectangle of c, summed over a segment of the depth.
struct Grid {
  int64_t segments = 1, rows = 1, columns = 1;

  int64_t size() const { return segments * rows * columns; }
};

// to[e] = the sum of the parts [count][size], in their order.
template <class T>
void add_parts(const T* parts, int64_t count, int64_t size, T* to) {
  std::copy_n(parts, size, to);
  for (int64_t s = 1; s < count; ++s)
    at::vec::map2<T>([](Vec<T> a, Vec<T> b) { return a + b; }, to, to, parts + s * size, size);
}

template <class T>
class Product {
 public:
  // Beyond one thread's chunk of rows and columns, a sum may be cut into `most_segments`.
  Product(const Strided<T>& a, const Strided<T>& b, T* c, int64_t rows, int64_t columns,
          int64_t depth, int64_t most_segments = 1)
      : a_(a), b_(b), c_(c), rows_(rows), columns_(columns), depth_(depth) {
    find_grid(useful_threads(static_cast<double>(rows) * static_cast<double>(depth) *
                             static_cast<double>(columns)),
              most_segments);
    if (grid_.segments > 1) parts_ = scratch_.take<T>(grid_.segments * rows * columns);
  }

  const Grid& grid() const { return grid_; }

  // Block i of grid().size(). prepare(begin, end) is called once for rows of a before they are
  // read, finish(row, rows, column, columns) for a rectangle of c when it is complete.
  template <class Prepare, class Finish>
  void run(int64_t i, const Prepare& prepare, const Finish& finish) const {
    const int64_t column = i % grid_.columns, row = i / grid_.columns % grid_.rows,
                  segment = i / grid_.columns / grid_.rows;
    const Block block_of_c{Range{0, rows_}.part(row, grid_.rows),
                           Range{0, vectors()}.part(column, grid_.columns),
                           Range{0, depth_}.part(segment, grid_.segments),
                           parts_ ? parts_ + segment * rows_ * columns_ : c_};
    if (wants_dots())
      dots(block_of_c, prepare, finish);
    else
      tiles(block_of_c, prepare, finish);
  }
  template <class Prepare>
  void run(int64_t i, const Prepare& prepare) const {
    run(i, prepare, [](int64_t, int64_t, int64_t, int64_t) {});
  }
  void run(int64_t i) const {
    run(i, [](int64_t, int64_t) {});
  }

  // c = the sum of the segments, in their order, when all have run.
  void add_segments() const {
    if (parts_) add_parts(parts_, grid_.segments, rows_ * columns_, c_);
  }

 private:
  static constexpr int64_t kWidth = panel_width<T>();
  // Rows of a block of a, which takes half of the second-level cache, where it stays while all
  // panels pass.
  static int64_t block_rows(int64_t depth) {
    const int64_t bytes = depth * static_cast<int64_t>(sizeof(T));
    return std::max<int64_t>(caches().level2 / 2 / std::max<int64_t>(bytes, 1), 4 * kTileRows);
  }
  // Packed, a is read along lines, whatever its strides; where these are powers of two, what lies
  // along them shares a few sets of the cache. Worth its time beyond so many panels.
  static constexpr int64_t kFewPanelsOfColumns = 4,
                           kFewPanels = kTileVectors == 2 ? 8 : std::numeric_limits<int>::max();
  // Up to so many rows b is read where it lies: packing it costs more than it saves. On AVX2 rows
  // that are 1,024 long pay from 24 on, of 512 from 40, of 64 to 256 from 100.
  static constexpr int64_t kFewRows = kTileVectors == 2 ? 64 : 512;

  struct Block {
    Range rows, vectors, depth;
    T* c;
  };

  int64_t vectors() const { return (columns_ + lanes<T>() - 1) / lanes<T>(); }

  // The fewest cycles for a unit of depth: a multiply-add of vectors takes one, to pack an element
  // of a or b about one, to add one of a part to c three. More segments, with which a sum depends
  // on the threads, must gain 3 %.
  void find_grid(int64_t threads, int64_t most_segments) {
    double least = std::numeric_limits<double>::infinity();
    for (int64_t segments = 1; segments <= std::min(threads, most_segments); ++segments)
      for (int64_t columns = 1; columns <= std::min(threads / segments, vectors()); ++columns) {
        const int64_t rows = std::min(threads / segments / columns, rows_);
        const auto m = static_cast<double>((rows_ + rows - 1) / rows);
        const auto n = static_cast<double>((vectors() + columns - 1) / columns);
        double cycles = (m * n + m + n * lanes<T>()) / segments;
        if (segments > 1) cycles += 3.0 * segments * rows_ * vectors() / depth_;
        if (cycles < (segments > grid_.segments ? 0.97 : 1.0) * least) {
          least = cycles;
          grid_ = {segments, rows, columns};
        }
      }
  }

  // Dot products add up their lanes, but no row of b has to be transposed for them.
  bool wants_dots() const {
    constexpr int64_t kGain = kTileVectors == 2 ? 1 : 2;
    return a_.depth_stride == 1 && b_.depth_stride == 1 && rows_ < kGain * depth_ / lanes<T>();
  }

  template <class Prepare, class Finish>
  void dots(const Block& block_of_c, const Prepare& prepare, const Finish& finish) const {
    Scratch scratch;
    const auto [rows, vectors, depth, c] = block_of_c;
    const int64_t whole = depth.size() / lanes<T>(), rest = depth.size() % lanes<T>();
    const T* const a = a_.at(rows.begin, depth.begin);
    prepare(rows.begin, rows.end);
    T* const a_rest = scratch.take<T>(rows.size() * lanes<T>());
    alignas(64) T b_rest[kDotColumns * lanes<T>()] = {};
    if (rest > 0) {
      std::fill_n(a_rest, rows.size() * lanes<T>(), T(0));
      for (int64_t m = 0; m < rows.size(); ++m)
        std::copy_n(a + m * a_.row_stride + whole * lanes<T>(), rest, a_rest + m * lanes<T>());
    }
    const int64_t last = std::min(vectors.end * lanes<T>(), columns_);
    for (int64_t column = vectors.begin * lanes<T>(); column < last; column += kWidth) {
      const int64_t columns = std::min(kWidth, last - column);
      T* const to = c + rows.begin * columns_ + column;
      for (int64_t m = 0; m < rows.size(); ++m) std::fill_n(to + m * columns_, columns, T(0));
      accumulate_dots(rows.size(), columns, whole, a, a_.row_stride, b_.at(column, depth.begin),
                      b_.row_stride, to, columns_);
      for (int64_t n = 0; rest > 0 && n < columns; n += kDotColumns) {
        const int64_t count = std::min<int64_t>(kDotColumns, columns - n);
        for (int64_t s = 0; s < count; ++s)
          std::copy_n(b_.at(column + n + s, depth.begin + whole * lanes<T>()), rest,
                      b_rest + s * lanes<T>());
        accumulate_dots<T>(rows.size(), count, 1, a_rest, lanes<T>(), b_rest, lanes<T>(), to + n,
                           columns_);
      }
      finish(rows.begin, rows.size(), column, columns);
    }
  }

  template <class Prepare, class Finish>
  void tiles(const Block& block_of_c, const Prepare& prepare, const Finish& finish) const {
    Scratch scratch;
    const auto [rows, vectors, all, c] = block_of_c;
    const int64_t steps =
        std::max<int64_t>((all.size() + block_depth<T>() - 1) / block_depth<T>(), 1);
    const int64_t most_depth = (all.size() + steps - 1) / steps;
    const int64_t blocks =
        std::max<int64_t>((rows.size() + block_rows(most_depth) - 1) / block_rows(most_depth), 1);
    const int64_t most_rows = (rows.size() + blocks - 1) / blocks;
    const int64_t panels = (vectors.size() + kTileVectors - 1) / kTileVectors;
    const bool packs_a = panels > (a_.depth_stride == 1 ? kFewPanels : kFewPanelsOfColumns);
    T* const packed_a =
        packs_a ? scratch.take<T>(PackedMatrix<T>::storage(most_rows, most_depth)) : nullptr;
    T* const packed_b = scratch.take<T>(panels * panel_size(most_depth));
    for (int64_t step = 0; step < steps; ++step) {
      const Range depth = all.part(step, steps);
      for (int64_t block = 0; block < blocks; ++block) {
        const Range some = rows.part(block, blocks);
        if (step == 0) prepare(some.begin, some.end);
        if (block == 0) pack_panels(vectors, depth, rows.size(), packed_b);
        const Strided<T> a = a_.from(some.begin, depth.begin);
        std::optional<PackedMatrix<T>> packed;
        if (packs_a) packed.emplace(a, some.size(), depth.size(), packed_a);
        for_panels(vectors, [&](int64_t i, int64_t column, int64_t columns) {
          const Panel<T> panel =
              reads_b_in_place(columns, rows.size())
                  ? Panel<T>{b_.at(column, depth.begin), b_.depth_stride, vectors_of<T>(columns)}
                  : Panel<T>{packed_b + i * panel_size(depth.size()), kWidth,
                             vectors_of<T>(columns)};
          for_row_tiles(0, some.size(), [&](int64_t first, int64_t count) {
            const int64_t row = some.begin + first;
            multiply_columns(packed ? packed->tile(first, count) : a.from(first, 0), count,
                             depth.size(), panel, c + row * columns_ + column, columns_, columns,
                             step > 0);
            if (step + 1 == steps) finish(row, count, column, columns);
          });
        });
      }
    }
  }

  // A line more than its elements: rows of several panels are packed together, and lines that are a
  // power of two apart share a few sets of the caches.
  static int64_t panel_size(int64_t depth) {
    return depth * kWidth + kCacheLine / static_cast<int64_t>(sizeof(T));
  }

  bool reads_b_in_place(int64_t columns, int64_t rows) const {
    return b_.row_stride == 1 && columns % lanes<T>() == 0 && rows <= kFewRows;
  }

  // Calls body(i, first column, columns) for the panels of some columns.
  template <class Body>
  void for_panels(const Range& vectors, const Body& body) const {
    const int64_t panels = (vectors.size() + kTileVectors - 1) / kTileVectors;
    for (int64_t i = 0; i < panels; ++i) {
      const Range part = vectors.part(i, panels);
      const int64_t column = part.begin * lanes<T>();
      body(i, column, std::min(part.end * lanes<T>(), columns_) - column);
    }
  }

  // The panels of b, but for those that are read where they lie.
  void pack_panels(const Range& vectors, const Range& depth, int64_t rows, T* to) const {
    if (b_.row_stride == 1) {  // row by row, along their lines
      constexpr int64_t kRowsTogether = 8;
      for (int64_t k = depth.begin; k < depth.end; k += kRowsTogether) {
        const int64_t count = std::min(kRowsTogether, depth.end - k);
        for_panels(vectors, [&](int64_t i, int64_t column, int64_t columns) {
          if (!reads_b_in_place(columns, rows))
            pack_rows(b_.at(column, k), b_.depth_stride, count, columns,
                      to + i * panel_size(depth.size()) + (k - depth.begin) * kWidth);
        });
      }
    } else {
      for_panels(vectors, [&](int64_t i, int64_t column, int64_t columns) {
        pack_transposed(b_.at(column, depth.begin), b_.row_stride, depth.size(), columns,
                        to + i * panel_size(depth.size()));
      });
    }
  }

  Strided<T> a_, b_;
  T* c_;
  int64_t rows_, columns_, depth_;
  Grid grid_;
  Scratch scratch_;
  T* parts_ = nullptr;  // [segments][rows][columns]
};

}  // namespace pyneural::dense
