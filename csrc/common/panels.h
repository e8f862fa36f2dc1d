// Products of row-major matrices of any size: the right operand is cut into panels as wide as the
// register tile, the left one is read where it lies.
//
// Letters: a [rows, depth] with any strides, b [depth, columns] with any strides, c [rows, columns]
// row-major.
#pragma once

#include "matmul.h"
#include "transpose.h"

namespace pyneural {

template <class T>
constexpr int64_t panel_width() {
  return kTileVectors * lanes<T>();
}

template <class T>
constexpr int64_t whole_vectors(int64_t width) {
  return (width + lanes<T>() - 1) / lanes<T>() * lanes<T>();
}

namespace detail {

// c [M][N vectors] = a b, or += a b: the product is summed before it is added, so that a sum over
// many blocks of the depth keeps its digits.
template <class T, int M, int N>
void product_tile(int64_t depth, const T* __restrict a, int64_t row_stride, int64_t depth_stride,
                  const T* __restrict b, int64_t ldb, T* __restrict c, int64_t ldc,
                  bool accumulate) {
  Register<T> sum[M][N] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Register<T> row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = as_register(b + n * lanes<T>());
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] += a[m * row_stride] * row[n];
    a += depth_stride;
    b += ldb;
  }
  if (accumulate) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] += as_register(c + m * ldc + n * lanes<T>());
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      *reinterpret_cast<Register<T>*>(c + m * ldc + n * lanes<T>()) = sum[m][n];
}

template <class T>
using ProductTile = void (*)(int64_t, const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t,
                             bool);

template <class T, int... I>
constexpr auto product_tiles(std::integer_sequence<int, I...>) {
  return std::array<ProductTile<T>, sizeof...(I)>{
      &product_tile<T, I / kTileVectors + 1, I % kTileVectors + 1>...};
}
template <class T>
constexpr auto kProductTiles =
    product_tiles<T>(std::make_integer_sequence<int, kTileRows * kTileVectors>{});

}  // namespace detail

namespace detail {

// One row: c [P][panel_width] += a [depth] times P packed panels. S sums an element, taken from
// every S-th k, so that there are enough independent ones to hide a multiply-add's latency.
template <class T, int P, int N>
void row_tile(int64_t depth, const T* __restrict a, const T* __restrict b, int64_t panel_size,
              T* __restrict c) {
  constexpr int S = P * N >= 8 ? 1 : 8 / (P * N);
  constexpr int64_t kWidth = panel_width<T>();
  Register<T> sum[S][P][N] = {};
  const auto add = [&](int s, int64_t k) {
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n)
        sum[s][p][n] += a[k] * as_register(b + p * panel_size + k * kWidth + n * lanes<T>());
  };
  int64_t k = 0;
  for (; k + S <= depth; k += S)
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) add(s, k + s);
  for (; k < depth; ++k) add(0, k);
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      Register<T>& to = *reinterpret_cast<Register<T>*>(c + p * kWidth + n * lanes<T>());
      Register<T> total = sum[0][p][n];
#pragma GCC unroll 8
      for (int s = 1; s < S; ++s) total += sum[s][p][n];
      to += total;
    }
}

template <class T>
using RowTile = void (*)(int64_t, const T*, const T*, int64_t, T*);
template <class T, int P, int... I>
constexpr auto row_tiles(std::integer_sequence<int, I...>) {
  return std::array<RowTile<T>, sizeof...(I)>{&row_tile<T, P, I + 1>...};
}
template <class T, int P>
constexpr auto kRowTiles = row_tiles<T, P>(std::make_integer_sequence<int, kTileVectors>{});

}  // namespace detail

// c [P][panel_width] += a [depth] times P packed panels side by side, `vectors` wide each.
template <int P, class T>
void multiply_row(const T* a, int64_t depth, const T* panels, int64_t vectors, T* c) {
  detail::kRowTiles<T, P>[vectors - 1](depth, a, panels, depth* panel_width<T>(), c);
}

// The left operand: element (row, k) at data[row * row_stride + k * depth_stride].
template <class T>
struct Strided {
  const T* data;
  int64_t row_stride, depth_stride;

  const T* at(int64_t row, int64_t k) const { return data + row * row_stride + k * depth_stride; }
};

// Some columns of the right operand, whole vectors wide: row k begins at data + k * stride.
template <class T>
struct Panel {
  const T* data;
  int64_t stride;
  int64_t vectors;
};

// Calls body(first, count) for tiles of nearly equal height, at most kTileRows, of [begin, end).
template <class Body>
void for_row_tiles(int64_t begin, int64_t end, const Body& body) {
  const int64_t tiles = (end - begin + kTileRows - 1) / kTileRows;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t first = begin + i * (end - begin) / tiles;
    body(first, begin + (i + 1) * (end - begin) / tiles - first);
  }
}

// c [rows][panel.vectors], rows <= kTileRows, = a b, or += a b.
template <class T>
void multiply(const Strided<T>& a, int64_t rows, int64_t depth, const Panel<T>& b, T* c,
              int64_t ldc, bool accumulate = false) {
  detail::kProductTiles<T>[(rows - 1) * kTileVectors + b.vectors - 1](
      depth, a.data, a.row_stride, a.depth_stride, b.data, b.stride, c, ldc, accumulate);
}

// Panel i of columns, packed: [depth][panel_width], zeros from the last column to the vector's end.
template <class T>
Panel<T> packed_panel(const T* storage, int64_t i, int64_t depth, int64_t columns) {
  const int64_t left = std::min(panel_width<T>(), columns - i * panel_width<T>());
  return {storage + i * panel_width<T>() * depth, panel_width<T>(),
          (left + lanes<T>() - 1) / lanes<T>()};
}
template <class T>
int64_t panel_count(int64_t columns) {
  return (columns + panel_width<T>() - 1) / panel_width<T>();
}

// Packs b [depth, width], width <= panel_width, whose rows are contiguous.
template <class T>
void pack_rows(const T* b, int64_t row_stride, int64_t depth, int64_t width, T* to) {
  for (int64_t k = 0; k < depth; ++k, b += row_stride, to += panel_width<T>())
    for (int64_t n = 0; n < width; n += lanes<T>())
      Vec<T>::loadu(b + n, std::min(lanes<T>(), width - n)).store(to + n);
}

// Packs b = w^T for w [width, depth], width <= panel_width, whose rows are contiguous.
template <class T>
void pack_transposed(const T* w, int64_t row_stride, int64_t depth, int64_t width, T* to) {
  for (int64_t k = 0; width < whole_vectors<T>(width) && k < depth; ++k)
    std::fill(to + k * panel_width<T>() + width,
              to + k * panel_width<T>() + whole_vectors<T>(width), T(0));
  transpose(w, row_stride, width, depth, to, panel_width<T>());
}

}  // namespace pyneural
