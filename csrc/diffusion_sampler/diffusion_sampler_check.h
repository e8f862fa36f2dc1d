// What the diffusion_sampler op asks of its arguments before memory is touched.
#pragma once

#include <cmath>

#include "../common/checks.h"
#include "step.h"

namespace pyneural::diffusion_sampler {

// x <- a_i x + c_i xi + sum_k b_ik f_(i-k) for steps i < S and k < K, where f_i is a network of
// [x, condition] to whose first layer shift i is added, and xi is normal noise.
struct Sampler : NetworkSizes {
  int64_t rows = 0;                     // N
  int64_t features = 0, condition = 0;  // D, C columns
  int64_t steps = 0, memory = 0;        // S, K values of the network
  ActivationKind activation = ActivationKind::linear;
  double guidance = 0;  // w of f(x, c) + w (f(x, c) - f(x, 0))
};

template <class Result>
using Signature = Result(const at::Tensor&, const OptionalTensor&, at::TensorList, at::TensorList,
                         const at::Tensor&, const at::Tensor&, const at::Tensor&, std::string_view,
                         double);

struct Arguments {
  const at::Tensor& x;
  const OptionalTensor& condition;
  at::TensorList weights, biases;
  const at::Tensor &shifts, &coefficients, &seed;
  std::string_view activation;
  double guidance;
};

namespace detail {

inline void check_condition(const char* op, const Arguments& a, Sampler* sampler) {
  if (a.condition) {
    const at::Tensor& condition = *a.condition;
    TORCH_CHECK_VALUE(condition.defined() && condition.dim() == 2, op,
                      ": condition: expected shape [rows, columns], got ",
                      condition.defined() ? "another" : "None",
                      "; a single row is condition[None]");
    sampler->condition = condition.size(1);
    check_like({op, "condition"}, condition, {sampler->rows, sampler->condition}, {"x", a.x},
               "it must have a row for each of x; condition.expand(len(x), -1) repeats one");
  }
  TORCH_CHECK_VALUE(std::isfinite(a.guidance), op, ": guidance: expected a finite number, got ",
                    a.guidance, "; 0 is none");
  TORCH_CHECK_VALUE(a.condition || a.guidance == 0, op,
                    ": guidance: expected 0 where there is no condition, got ", a.guidance,
                    "; give the condition that samples are to be guided to");
  sampler->guidance = a.guidance;
}

inline void check_network(const char* op, const Arguments& a, Sampler* sampler) {
  const int64_t layers = static_cast<int64_t>(a.weights.size());
  sampler->width = {sampler->features + sampler->condition};
  for (int64_t l = 0; l < layers; ++l) {
    const Argument weight{op, "weights", l};
    check_given(weight, a.weights[l]);
    TORCH_CHECK_VALUE(a.weights[l].dim() == 2 && a.weights[l].size(0) > 0, weight,
                      ": expected a tensor [outputs, inputs], got ", a.weights[l].sizes(),
                      "; give it as torch.nn.Linear stores it");
    const int64_t in = sampler->width.back(), out = a.weights[l].size(0);
    const char* const remedy = l == 0 ? "the inputs are the columns of x and those of the condition"
                                      : "a layer's inputs are the outputs of the one before";
    check_like(weight, a.weights[l], {out, in}, {"x", a.x}, remedy);
    check_like({op, "biases", l}, a.biases[l], {out}, {"x", a.x}, remedy);
    sampler->width.push_back(out);
    sampler->parameters += out * (in + 1);
  }
  TORCH_CHECK_VALUE(sampler->width.back() == sampler->features, Argument{op, "weights", layers - 1},
                    ": expected ", sampler->features, " outputs as x has columns, got ",
                    sampler->width.back(), "; a denoiser tells something of each column");
  sampler->activation = check_activation({op, "activation"}, a.activation);
}

inline void check_steps(const char* op, const Arguments& a, Sampler* sampler) {
  check_given({op, "coefficients"}, a.coefficients);
  TORCH_CHECK_VALUE(a.coefficients.dim() == 2 && a.coefficients.size(1) > kBeforeMemory, op,
                    ": coefficients: expected shape [steps, 2 + K] with K >= 1, got ",
                    a.coefficients.sizes(),
                    "; a row is the factor of x, of the noise, and of the last K values of the "
                    "network");
  sampler->steps = a.coefficients.size(0);
  sampler->memory = a.coefficients.size(1) - kBeforeMemory;
  check_like({op, "coefficients"}, a.coefficients, a.coefficients.sizes(), {"x", a.x}, "");
  check_like({op, "shifts"}, a.shifts, {sampler->steps, sampler->width[1]}, {"x", a.x},
             "a row for each of the coefficients, a column for each output of the first layer");
  check_given({op, "seed"}, a.seed);
  TORCH_CHECK_VALUE(a.seed.scalar_type() == at::kLong && a.seed.numel() == 1, op,
                    ": seed: expected one int64, got ", a.seed.sizes(), " of ",
                    a.seed.scalar_type(), "; draw it with torch.randint");
  TORCH_CHECK_VALUE(a.seed.is_cpu() || a.seed.device() == a.x.device(), op, ": seed: expected ",
                    a.x.device(), " like x, or the CPU, got ", a.seed.device(),
                    "; move it with .to(device)");
}

}  // namespace detail

inline Sampler check_diffusion_sampler(const Arguments& a) {
  const char* const op = "diffusion_sampler";
  check_dtype({op, "x"}, a.x, Precisions::full, "convert it with x.float()");
  check_layers(op, a.x, a.weights, a.biases, "[rows, features]");
  Sampler sampler;
  sampler.rows = a.x.size(0);
  sampler.features = a.x.size(1);
  TORCH_CHECK_VALUE(sampler.features > 0, op,
                    ": x: expected shape [rows, features] with at least one column, got ",
                    a.x.sizes(), "; give it the features");
  detail::check_condition(op, a, &sampler);
  detail::check_network(op, a, &sampler);
  detail::check_steps(op, a, &sampler);
  return sampler;
}

}  // namespace pyneural::diffusion_sampler
