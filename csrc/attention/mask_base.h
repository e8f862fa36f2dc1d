// Float masks whose rows are far from 0, for every device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "attention_check.h"

namespace pyneural::attention {

// What is subtracted from the rows of a float mask, [N or 1, H or 1, L or 1, 1]: the largest addend
// of a row where that is far from 0, else 0. A row of -1e9 or of finfo.min then has weights and a
// log-sum-exp like others: beside such a number the log of the sum would be lost.
inline at::Tensor mask_base(const at::Tensor& mask, const Problem& p) {
  constexpr double kFar = 16;
  if (p.keys == 0) return at::zeros({mask.size(0), mask.size(1), mask.size(2), 1}, mask.options());
  at::Tensor seen = mask;
  if (p.is_causal) {
    const auto hidden = at::ones({p.queries, p.keys}, mask.options().dtype(at::kBool)).triu(1);
    seen = mask.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  const at::Tensor most = seen.amax(3, true);
  return at::where(most.isfinite().logical_and(most.abs().gt(kFar)), most, 0);
}

}  // namespace pyneural::attention
