// A network that the fused kernels do not take: layer by layer through the dense ops, which know
// every device, dtype and graph.
#pragma once

#include <algorithm>

#include "../common/find_op.h"
#include "../dense/dense_check.h"
#include "mlp_check.h"

namespace pyneural::mlp {

// Up to this width computing the activations twice costs less than going through memory with them.
constexpr int64_t kWidestFused = 128;
// Their sizes are arguments of the CUDA kernels.
constexpr size_t kMostFusedLayers = 64;

// Sizes may be symbols, under torch.compile.
inline bool is_fused(at::TensorList weights) {
  const auto is_wide = [](const c10::SymInt& width) {
    return width.sym_gt(kWidestFused).guard_bool(__FILE__, __LINE__);
  };
  return weights.size() <= kMostFusedLayers &&
         std::none_of(weights.begin(), weights.end(), [&](const at::Tensor& weight) {
           return weight.dim() == 2 && (is_wide(weight.sym_size(0)) || is_wide(weight.sym_size(1)));
         });
}

constexpr Op<"pyneural::dense", dense::ForwardSignature<at::Tensor>> call_dense;

inline at::Tensor forward_by_layers(const Arguments& call) {
  const auto& [x, weights, biases, activation, final_activation] = call;
  check_layers("mlp", x, weights, biases, kInputLetters);
  at::Tensor a = x;
  for (size_t l = 0; l < weights.size(); ++l)
    a = call_dense(a, weights[l], biases[l],
                   l + 1 < weights.size() ? activation : final_activation);
  return a;
}

}  // namespace pyneural::mlp
