// The loop of a sampler on CUDA: checks, memory and the stream; diffusion_sampler_cuda.cu does the
// work.
#include "diffusion_sampler_cuda.h"

#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "diffusion_sampler_check.h"

namespace pyneural::diffusion_sampler {
namespace {

at::Tensor diffusion_sampler(const Arguments& a) {
  const Sampler sampler = check_diffusion_sampler(a);
  TORCH_CHECK_VALUE(sampler.layers() <= kMaxLayers, "diffusion_sampler: weights: expected at most ",
                    kMaxLayers, " layers on CUDA, got ", sampler.layers(),
                    "; use fewer, or the CPU");
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x);
  if (sampler.rows == 0) return y;
  dispatch_floating_cuda(a.x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const at::Tensor x = a.x.contiguous(), shifts = a.shifts.contiguous(),
                     coefficients = a.coefficients.contiguous(),
                     seed = on_device(a.seed, a.x.device()),
                     condition = a.condition ? a.condition->contiguous() : at::Tensor();
    DiffusionSamplerParams<T> params;
    const at::Tensor parameters = join_parameters(a.weights, a.biases, &params);
    params.activation = sampler.activation;
    params.rows = sampler.rows;
    params.features = sampler.features;
    params.condition_columns = sampler.condition;
    params.steps = sampler.steps;
    params.memory = sampler.memory;
    params.guidance = static_cast<T>(sampler.guidance);
    params.x = x.const_data_ptr<T>();
    params.condition = data_or_null<const T>(condition);
    params.parameters = parameters.template const_data_ptr<T>();
    params.shifts = data_or_null<const T>(shifts);
    params.coefficients = data_or_null<const T>(coefficients);
    params.seed = seed.const_data_ptr<int64_t>();
    params.y = y.data_ptr<T>();
    C10_CUDA_CHECK(params.configure());
    at::Tensor scratch;
    if (!params.shared_slab) {
      scratch = at::empty({params.blocks, params.slab}, x.options());
      params.scratch = scratch.data_ptr<T>();
    }
    C10_CUDA_CHECK(params.launch(stream));
  });
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("diffusion_sampler", FlatOp<diffusion_sampler, Signature<at::Tensor>>::call);
}

}  // namespace pyneural::diffusion_sampler
