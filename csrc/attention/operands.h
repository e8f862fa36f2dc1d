// Rows of queries, keys and values as the kernels read and write them: converted to the
// accumulator type and padded to whole vectors.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/cpu/vec/functional.h>

#include <algorithm>
#include <type_traits>

#include "../common/accumulator.h"
#include "../common/panels.h"
#include "../common/scratch.h"

namespace pyneural::attention::cpu {

// A tensor [N, H, rows, width] whose last dimension is contiguous.
template <class In>
struct Heads {
  In* data;
  int64_t batch_stride, head_stride, row_stride;

  explicit Heads(const at::Tensor& t)
      : data(static_cast<In*>(const_cast<void*>(t.const_data_ptr()))),
        batch_stride(t.stride(0)),
        head_stride(t.stride(1)),
        row_stride(t.stride(2)) {}

  In* row(int64_t n, int64_t h, int64_t i) const {
    return data + n * batch_stride + h * head_stride + i * row_stride;
  }
};

template <class T>
int64_t padded(int64_t width) {
  return round_up(width, lanes<T>());
}

// Whether all elements are finite: x - x is then 0, else NaN.
template <class T>
bool is_finite(const T* x, int64_t size) {
  Vec<T> sum(T(0));
  int64_t i = 0;
  for (; i + lanes<T>() <= size; i += lanes<T>()) {
    const Vec<T> v = Vec<T>::loadu(x + i);
    sum = sum + (v - v);
  }
  T rest = lane_sum(sum);
  for (; i < size; ++i) rest += x[i] - x[i];
  return rest == T(0);
}

// Prefetches rows that are read soon: a transposition, which reads a line of each of many rows,
// would wait for every one of them.
template <class In>
void prefetch_rows(const In* rows, int64_t stride, int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; ++i, rows += stride)
    for (int64_t e = 0; e < width; e += kCacheLine / static_cast<int64_t>(sizeof(In)))
      __builtin_prefetch(rows + e, 0, 2);
}

// The next `count` <= lanes elements of a row as a vector, with zeros behind.
template <class T, class In>
Vec<T> load_vector(const In* from, int64_t count) {
  if constexpr (std::is_same_v<In, T>) {
    return count == lanes<T>() ? Vec<T>::loadu(from) : Vec<T>::loadu(from, count);
  } else {
    alignas(64) T converted[lanes<T>()] = {};
    at::vec::convert(from, converted, count);
    return Vec<T>::loadu(converted);
  }
}

// to [rows][padded(width)] = factor * from, with zeros behind; tells whether all is finite.
template <class In, class T>
bool load_rows(const In* from, int64_t stride, int64_t rows, int64_t width, T factor, T* to) {
  Vec<T> sum(T(0));
  for (int64_t i = 0; i < rows; ++i, from += stride)
    for (int64_t e = 0; e < width; e += lanes<T>(), to += lanes<T>()) {
      const Vec<T> v = load_vector<T>(from + e, std::min(lanes<T>(), width - e)) * Vec<T>(factor);
      sum = sum + (v - v);
      v.store(to);
    }
  return lane_sum(sum) == T(0);
}

// Rows of a left operand.
template <class Word>
struct Rows {
  const Word* data;
  int64_t stride;
  bool is_finite;

  Rows from(int64_t row) const { return {data + row * stride, stride, is_finite}; }
};

// Rows of a right operand, `width` whole vectors long, in panels: where they lie, or packed.
template <class Word>
struct Panels {
  const Word* data;
  int64_t row_stride, panel_stride, width;
  bool is_finite;

  Panels from(int64_t row) const {
    return {data + row * row_stride, row_stride, panel_stride, width, is_finite};
  }
};

// Elements of `rows` of a right operand.
template <class T>
int64_t panels_size(int64_t rows, int64_t width) {
  return rows * round_up(width, panel_width<T>());
}

// to [panels][rows][panel_width] = from, with zeros up to the last whole vector.
template <class In, class T>
Panels<T> pack_panels(const In* from, int64_t stride, int64_t rows, int64_t width, T* to) {
  constexpr int64_t kWidth = panel_width<T>();
  Vec<T> sum(T(0));
  for (int64_t i = 0; i < rows; ++i, from += stride)
    for (int64_t e = 0; e < width; e += lanes<T>()) {
      const Vec<T> v = load_vector<T>(from + e, std::min(lanes<T>(), width - e));
      sum = sum + (v - v);
      v.store(to + (e / kWidth * rows + i) * kWidth + e % kWidth);
    }
  return {to, kWidth, rows * kWidth, padded<T>(width), lane_sum(sum) == T(0)};
}

// to [width] = factor * from, converted back.
template <class T, class Out>
void store_row(const T* from, int64_t width, T factor, Out* to) {
  if constexpr (std::is_same_v<T, Out>) {
    for (int64_t e = 0; e < width; e += lanes<T>()) {
      const Vec<T> v = Vec<T>::loadu(from + e) * Vec<T>(factor);
      width - e >= lanes<T>() ? v.store(to + e) : v.store(to + e, static_cast<int>(width - e));
    }
  } else {
    for (int64_t e = 0; e < width; ++e) to[e] = static_cast<Out>(from[e] * factor);
  }
}

// The panels of b = rows^T, [width][count], for products with vectors along the rows.
template <class T>
void pack_panels_transposed(const T* rows, int64_t stride, int64_t count, int64_t width,
                            T* panels) {
  for (int64_t first = 0; first < count; first += panel_width<T>())
    pack_transposed(rows + first * stride, stride, width, std::min(panel_width<T>(), count - first),
                    panels + first * width);
}

}  // namespace pyneural::attention::cpu
