// The parameters of the spline as its kernels take them, and memory for what its ops return.
#pragma once

#include <optional>

#include "../common/results.h"
#include "spline_check.h"

namespace pyneural::spline {

// Where rows [..., columns] are contiguous and evenly apart, how far: as those of a view of some
// columns are, which is how a network gives all parameters at once.
inline std::optional<int64_t> distance_of_rows(const at::Tensor& rows) {
  if (rows.size(-1) == 0) return 0;
  if (rows.size(-1) > 1 && rows.stride(-1) != 1) return std::nullopt;
  int64_t distance = 0, count = 1;
  for (int64_t d = rows.dim() - 2; d >= 0; --d) {
    if (rows.size(d) == 1) continue;
    if (count == 1) distance = rows.stride(d);
    if (rows.stride(d) != distance * count) return std::nullopt;
    count *= rows.size(d);
  }
  return distance;
}

inline at::Tensor with_even_rows(const at::Tensor& rows) {
  return distance_of_rows(rows) ? rows : rows.contiguous();
}

// y and ladj.
inline Two empty_values(const Arguments& a) {
  return {empty_if(true, a.x.sizes(), a.x), empty_if(true, a.x.sizes(), a.x)};
}

// The gradients of x, widths, heights and derivatives.
inline Four empty_gradients(const BackwardArguments& b) {
  return {empty_if(true, b.x.sizes(), b.x), empty_if(true, b.widths.sizes(), b.x),
          empty_if(true, b.heights.sizes(), b.x), empty_if(true, b.derivatives.sizes(), b.x)};
}

}  // namespace pyneural::spline
