// What the dropout op asks of its arguments before memory is touched.
#pragma once

#include "../common/checks.h"

namespace pyneural::dropout {

inline void check_dropout(const at::Tensor& x, const at::Tensor& seed, double p) {
  check_dtype({"dropout", "x"}, x, Precisions::with_reduced, "convert it with x.float()");
  TORCH_CHECK_VALUE(p >= 0 && p <= 1, "dropout: p: expected 0 to 1, got ", p,
                    "; it is the probability that an element becomes 0");
  check_given({"dropout", "seed"}, seed);
  TORCH_CHECK_VALUE(seed.scalar_type() == at::kLong && seed.numel() == 1,
                    "dropout: seed: expected one int64, got ", seed.sizes(), " of ",
                    seed.scalar_type(), "; draw it with torch.randint");
  TORCH_CHECK_VALUE(seed.is_cpu() || seed.device() == x.device(), "dropout: seed: expected ",
                    x.device(), " like x, or the CPU, got ", seed.device(),
                    "; move it with .to(x.device)");
}

}  // namespace pyneural::dropout
