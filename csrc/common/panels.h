// Matrix products by the tiles of micro_kernel.h: how operands lie, are packed and walked over.
//
//   multiply:        c[r][n]  = or += sum_k a[r][k] b[k][n]   a where it lies or packed in blocks
//   multiply_row:    c[n]    +=       sum_k a[k] b[k][n]
//   accumulate_dots: g[r][s] +=       sum_n x[r][n] y[s][n]
//
// The right operand is cut into panels as wide as a tile. Rows of b, c, x and y are whole vectors
// long (padded by the caller), so no size has to be a multiple of the vector length. With these, a
// layer's forward, its input gradient (multiply by the transpose) and its weight gradient need no
// transposed activations.
#pragma once

#include <algorithm>

#include "caches.h"
#include "micro_kernel.h"
#include "scratch.h"
#include "transpose.h"

namespace pyneural {

template <class T>
constexpr int64_t panel_width() {
  return kTileVectors * lanes<T>();
}
template <class T>
int64_t panel_count(int64_t columns) {
  return (columns + panel_width<T>() - 1) / panel_width<T>();
}

// Rows an odd number of cache lines apart are not all in the same few sets of the caches.
template <class T>
int64_t odd_lines(int64_t elements) {
  constexpr int64_t kLine = kCacheLine / static_cast<int64_t>(sizeof(T));
  return (((elements + kLine - 1) / kLine) | 1) * kLine;
}

// The left operand: element (row, k) at data[row * row_stride + k * depth_stride].
template <class T>
struct Strided {
  const T* data;
  int64_t row_stride, depth_stride;

  const T* at(int64_t row, int64_t k) const { return data + row * row_stride + k * depth_stride; }
  Strided from(int64_t row, int64_t k) const { return {at(row, k), row_stride, depth_stride}; }
};

// Some columns of the right operand, whole vectors wide: row k begins at data + k * stride.
template <class T>
struct Panel {
  const T* data;
  int64_t stride;
  int64_t vectors;
};

// Tiles of nearly equal height, at most kTileRows, of some rows.
struct RowTiles {
  explicit RowTiles(int64_t rows) : count((rows + kTileRows - 1) / kTileRows) {
    if (count > 0) height = rows / count, higher = rows % count;
  }

  // body(first row, rows) for each.
  template <class Body>
  void for_each(const Body& body) const {
    for (int64_t i = 0, first = 0; i < count; ++i) {
      const int64_t rows = height + (i < higher);
      body(first, rows);
      first += rows;
    }
  }

  int64_t count, height = 0, higher = 0;  // the first `higher` tiles have a row more
};

template <class Body>
void for_row_tiles(int64_t begin, int64_t end, const Body& body) {
  RowTiles(end - begin).for_each([&](int64_t first, int64_t rows) { body(begin + first, rows); });
}

// Rows of a panel that is worked on at a time. On AVX2 they fill three quarters of the first-level
// cache, so that they stay there. The panels of AVX-512 are four times as wide, for twice the
// multiply-adds a load, and come from the second-level cache.
template <class T>
int64_t block_depth() {
  if (kTileVectors > 2) return 1024;
  return caches().level1 * 3 / 4 / (panel_width<T>() * static_cast<int64_t>(sizeof(T)));
}

// Where part i of `parts` of some rows begins: all but the last are whole tiles.
inline int64_t begin_of_part(int64_t i, int64_t parts, int64_t rows) {
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  return std::min(i * tiles / parts * kTileRows, rows);
}

// c [rows][panel.vectors], rows <= kTileRows, = a b, or += a b.
template <class T>
void multiply(const Strided<T>& a, int64_t rows, int64_t depth, const Panel<T>& b, T* c,
              int64_t ldc, bool accumulate = false) {
  detail::kProductTiles<T>[(rows - 1) * kTileVectors + b.vectors - 1](
      depth, a.data, a.row_stride, a.depth_stride, b.data, b.stride, c, ldc, accumulate);
}

// The same for `columns` of c, by way of a tile where they are no whole vectors.
template <class T>
void multiply_columns(const Strided<T>& a, int64_t rows, int64_t depth, const Panel<T>& b, T* c,
                      int64_t ldc, int64_t columns, bool accumulate) {
  if (columns == b.vectors * lanes<T>()) return multiply(a, rows, depth, b, c, ldc, accumulate);
  constexpr int64_t kWidth = panel_width<T>();
  alignas(64) T tile[kTileRows * kWidth];
  for (int64_t m = 0; accumulate && m < rows; ++m)
    std::copy_n(c + m * ldc, columns, tile + m * kWidth);
  multiply(a, rows, depth, b, tile, kWidth, accumulate);
  for (int64_t m = 0; m < rows; ++m) std::copy_n(tile + m * kWidth, columns, c + m * ldc);
}

namespace detail {

// How many vectors hold the rows of a tile.
template <class T>
constexpr int kTileRegisters = (kTileRows + lanes<T>() - 1) / lanes<T>();

// to [depth][height] = a [height, depth] for the rows of a tile, each contiguous. Whole vectors are
// stored, of which what is behind the last row is overwritten by the next k: after the last k, up
// to two vectors more are written to.
template <class T>
void pack_tile(const Strided<T>& a, int64_t height, int64_t depth, T* to) {
  constexpr int kLanes = lanes<T>(), kRegisters = kTileRegisters<T>;
  int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) {
    Register<T> rows[kRegisters * kLanes] = {};
#pragma GCC unroll 8
    for (int m = 0; m < kTileRows; ++m)
      if (m < height) rows[m] = as_register(a.at(m, k));
#pragma GCC unroll 8
    for (int r = 0; r < kRegisters; ++r) transpose_registers<kLanes / 2, kLanes>(rows + r * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
#pragma GCC unroll 8
      for (int r = 0; r < kRegisters; ++r)
        as_register(to + (k + i) * height + r * kLanes) = rows[r * kLanes + i];
  }
  for (; k < depth; ++k)
    for (int64_t m = 0; m < height; ++m) to[k * height + m] = *a.at(m, k);
}

// The same of `tiles` tiles of one height, whose columns are contiguous: together, so that a column
// is read along its lines. Tiles are `tile_depth` columns apart.
template <class T>
void pack_tiles_of_columns(const Strided<T>& a, int64_t tiles, int64_t height, int64_t depth,
                           int64_t tile_depth, T* to) {
  constexpr int kLanes = lanes<T>(), kRegisters = kTileRegisters<T>;
  int64_t k = 0;
  // The last columns might read beyond the end of a.
  for (; k + kRegisters * kLanes < depth; ++k)
    for (int64_t t = 0; t < tiles; ++t)
#pragma GCC unroll 8
      for (int r = 0; r < kRegisters; ++r)
        as_register(to + (t * tile_depth + k) * height + r * kLanes) =
            as_register(a.at(t * height + r * kLanes, k));
  for (; k < depth; ++k)
    for (int64_t t = 0; t < tiles; ++t)
      for (int64_t m = 0; m < height; ++m)
        to[(t * tile_depth + k) * height + m] = *a.at(t * height + m, k);
}

}  // namespace detail

// A left operand [rows, depth] packed tile by tile of for_row_tiles, each [depth][height]: the
// order in which the product reads it.
template <class T>
class PackedMatrix {
 public:
  // Enough for a smaller depth, too.
  static int64_t storage(int64_t rows, int64_t depth) {
    return rows * (depth + kGap) + detail::kTileRegisters<T> * lanes<T>();
  }

  // Into `to`, storage(rows, depth) long. The rows of a, or its columns, are contiguous.
  PackedMatrix(const Strided<T>& a, int64_t rows, int64_t depth, T* to)
      : tiles_(rows), depth_(depth), tile_depth_(tile_depth(depth)), data_(to) {
    if (a.depth_stride == 1) {
      tiles_.for_each([&](int64_t first, int64_t height) {
        detail::pack_tile(a.from(first, 0), height, depth, to + first * tile_depth(depth));
      });
      return;
    }
    constexpr int64_t kTogether = 16;
    int64_t begin = 0, tiles = 0, their_height = 0;
    const auto pack = [&] {
      detail::pack_tiles_of_columns(a.from(begin, 0), tiles, their_height, depth, tile_depth(depth),
                                    to + begin * tile_depth(depth));
    };
    tiles_.for_each([&](int64_t first, int64_t height) {
      if (tiles == kTogether || height != their_height) {
        pack();
        begin = first, tiles = 0, their_height = height;
      }
      ++tiles;
    });
    pack();
  }

  const RowTiles& tiles() const { return tiles_; }
  int64_t depth() const { return depth_; }
  Strided<T> tile(int64_t first, int64_t height) const {
    return {data_ + first * tile_depth_ + begin_ * height, 1, height};
  }
  // The `depth` columns from `begin` on, where they lie.
  PackedMatrix columns(int64_t begin, int64_t depth) const {
    PackedMatrix part = *this;
    part.begin_ += begin, part.depth_ = depth;
    return part;
  }

 private:
  // What is packed together is not written to lines that are a power of two apart: these share a
  // few sets of the caches.
  static constexpr int64_t kGap = 2;
  static int64_t tile_depth(int64_t depth) { return depth % 8 == 0 ? depth + kGap : depth; }

  RowTiles tiles_;
  int64_t begin_ = 0, depth_;  // the columns
  int64_t tile_depth_;
  const T* data_;
};

// c [rows][vectors] = a b, for b [depth][vectors]; finish(row, rows, vector, vectors) is called for
// a tile of c when it is complete.
template <class T, class Finish>
void multiply(const PackedMatrix<T>& a, const T* b, int64_t ldb, T* c, int64_t ldc, int64_t vectors,
              const Finish& finish) {
  // A panel of b stays in the first-level cache while all of a passes.
  for (int64_t v = 0; v < vectors; v += kTileVectors) {
    const Panel<T> panel{b + v * lanes<T>(), ldb, std::min<int64_t>(kTileVectors, vectors - v)};
    a.tiles().for_each([&](int64_t first, int64_t height) {
      multiply(a.tile(first, height), height, a.depth(), panel, c + first * ldc + v * lanes<T>(),
               ldc);
      finish(first, height, v, panel.vectors);
    });
  }
}
template <class T>
void multiply(const PackedMatrix<T>& a, const T* b, int64_t ldb, T* c, int64_t ldc,
              int64_t vectors) {
  multiply(a, b, ldb, c, ldc, vectors, [](int64_t, int64_t, int64_t, int64_t) {});
}

// c [panels][panel_width] += a [depth] times packed panels side by side, `vectors` wide each: 1, 3
// or 4 of them, as the cells of recurrent layers have.
template <class T>
void multiply_row(int panels, const T* a, int64_t depth, const T* b, int64_t vectors, T* c) {
  const auto& tiles = panels == 4   ? detail::kRowTiles<T, 4>
                      : panels == 3 ? detail::kRowTiles<T, 3>
                                    : detail::kRowTiles<T, 1>;
  tiles[vectors - 1](depth, a, b, c);
}

// g[r][s] += sum_n x[r][n] y[s][n] for r < rows, s < columns, 0 <= n < vectors * lanes.
template <class T>
void accumulate_dots(int64_t rows, int64_t columns, int64_t vectors, const T* x, int64_t ldx,
                     const T* y, int64_t ldy, T* g, int64_t ldg) {
  // A few rows of y stay in the first-level cache while all of x passes.
  constexpr int64_t kResident = 2 * kDotColumns;
  for (int64_t s0 = 0; s0 < columns; s0 += kResident) {
    const int64_t s1 = std::min(columns, s0 + kResident);
    for (int64_t r = 0; r < rows; r += kDotRows) {
      const int64_t m = std::min<int64_t>(kDotRows, rows - r);
      for (int64_t s = s0; s < s1; s += kDotColumns) {
        const int64_t n = std::min<int64_t>(kDotColumns, s1 - s);
        detail::kDotTiles<T>[(m - 1) * kDotColumns + n - 1](vectors, x + r* ldx, ldx, y + s* ldy,
                                                            ldy, g + r* ldg + s, ldg);
      }
    }
  }
}

// Panel i of packed columns, [depth][panel_width], of which whole vectors up to the last column
// count.
template <class T>
Panel<T> packed_panel(const T* storage, int64_t i, int64_t depth, int64_t columns) {
  const int64_t left = std::min(panel_width<T>(), columns - i * panel_width<T>());
  return {storage + i * panel_width<T>() * depth, panel_width<T>(), vectors_of<T>(left)};
}

// Packs a panel of b [depth, width], width <= panel_width, whose rows are contiguous. Zeros from
// the last column to the vector's end.
template <class T>
void pack_rows(const T* b, int64_t row_stride, int64_t depth, int64_t width, T* to) {
  for (int64_t k = 0; k < depth; ++k, b += row_stride, to += panel_width<T>())
    for (int64_t n = 0; n < width; n += lanes<T>())
      Vec<T>::loadu(b + n, std::min(lanes<T>(), width - n)).store(to + n);
}

// The same of b = w^T for w [width, depth], whose rows are contiguous.
template <class T>
void pack_transposed(const T* w, int64_t row_stride, int64_t depth, int64_t width, T* to) {
  for (int64_t k = 0; width < whole_vectors<T>(width) && k < depth; ++k)
    std::fill(to + k * panel_width<T>() + width,
              to + k * panel_width<T>() + whole_vectors<T>(width), T(0));
  transpose(w, row_stride, width, depth, to, panel_width<T>());
}

}  // namespace pyneural
