// The check of the diffusion_sampler op, and what autocast makes of it. Its derivative is that of
// its form in plain torch, which pyneural/ops/diffusion_sampler.py registers.
#include <torch/library.h>

#include "../common/autograd.h"
#include "diffusion_sampler_check.h"

namespace pyneural::diffusion_sampler {
namespace {

constexpr Op<"pyneural::diffusion_sampler", Signature<at::Tensor>> call_diffusion_sampler;

// In float32: hundreds of steps would add up the rounding of a lower precision.
template <at::DeviceType device>
at::Tensor diffusion_sampler_autocast(const at::Tensor& x, const OptionalTensor& condition,
                                      at::TensorList weights, at::TensorList biases,
                                      const at::Tensor& shifts, const at::Tensor& coefficients,
                                      const at::Tensor& seed, std::string_view activation,
                                      double guidance) {
  const Autocast cast(device, at::kFloat);
  return call_diffusion_sampler(cast(x), cast(condition), cast(weights), cast(biases), cast(shifts),
                                cast(coefficients), seed, activation, guidance);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_diffusion_sampler", FlatOp<check_diffusion_sampler, Signature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("diffusion_sampler", diffusion_sampler_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("diffusion_sampler", diffusion_sampler_autocast<at::kCUDA>);
}

}  // namespace pyneural::diffusion_sampler
