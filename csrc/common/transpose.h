// Transposed copies, by torch's own blocks of vectors.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cstdint>

namespace pyneural {

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns.
template <class T>
void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
               int64_t to_stride) {
  constexpr int kBlock = 16;
  for (int64_t i = 0; i < rows; i += kBlock)
    for (int64_t j = 0; j < columns; j += kBlock) {
      const T* const source = from + i * from_stride + j;
      T* const target = to + j * to_stride + i;
      const auto m = static_cast<int>(std::min<int64_t>(kBlock, rows - i));
      const auto n = static_cast<int>(std::min<int64_t>(kBlock, columns - j));
      if (m == kBlock && n == kBlock)
        at::vec::transpose_mxn<T, kBlock, kBlock>(source, from_stride, target, to_stride);
      else
        at::vec::transpose_mxn<T>(source, from_stride, target, to_stride, m, n);
    }
}

}  // namespace pyneural
