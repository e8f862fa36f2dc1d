// Transposed copies by blocks of as many rows as a vector has lanes, in registers.
//
// at::vec has such blocks too; they pass through memory, and for float on AVX-512 take ten times as
// long.
#pragma once

#include <algorithm>
#include <utility>

#include "vectors.h"

namespace pyneural {

namespace detail {

// Swaps the off-diagonal d x d blocks of two rows d apart (Eklundh 1972): a keeps the lanes without
// the bit d and takes those of b in their order, b the other way round.
template <int d, class V, int... lane>
inline void swap_blocks(V* a, V* b, std::integer_sequence<int, lane...>) {
  constexpr int kLanes = sizeof...(lane);
  const V upper = *a, lower = *b;
#if defined(__clang__) || __GNUC__ >= 12
  *a = __builtin_shufflevector(upper, lower, ((lane & d) ? kLanes + lane - d : lane)...);
  *b = __builtin_shufflevector(upper, lower, ((lane & d) ? kLanes + lane : lane + d)...);
#else
  using Index = decltype(upper < lower);
  *a = __builtin_shuffle(upper, lower, Index{((lane & d) ? kLanes + lane - d : lane)...});
  *b = __builtin_shuffle(upper, lower, Index{((lane & d) ? kLanes + lane : lane + d)...});
#endif
}

template <int d, int kLanes, class V>
inline void transpose_registers(V* rows) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (!(i & d)) swap_blocks<d>(rows + i, rows + i + d, std::make_integer_sequence<int, kLanes>{});
  if constexpr (d > 1) transpose_registers<d / 2, kLanes>(rows);
}

template <class T>
inline void transpose_block(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int kLanes = sizeof(Vec<T>) / sizeof(T);
  Register<T> rows[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) rows[i] = as_register(from + i * from_stride);
  transpose_registers<kLanes / 2, kLanes>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) as_register(to + i * to_stride) = rows[i];
}

}  // namespace detail

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns.
template <class T>
void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to,
               int64_t to_stride) {
  const int64_t block = lanes<T>(), whole_columns = columns / block * block;
  for (int64_t i = 0; i < rows; i += block) {
    const int64_t last = std::min(rows, i + block);
    const int64_t done = last - i == block ? whole_columns : 0;
    for (int64_t j = 0; j < done; j += block)
      detail::transpose_block(from + i * from_stride + j, from_stride, to + j * to_stride + i,
                              to_stride);
    for (int64_t j = done; j < columns; ++j)
      for (int64_t r = i; r < last; ++r) to[j * to_stride + r] = from[r * from_stride + j];
  }
}

}  // namespace pyneural
