// The forward of attention on CUDA.
#include "attention_forward.cuh"
#include "attention_maps.cuh"
#include "attention_shapes.cuh"

namespace pyneural::attention::cuda {

template <class T>
cudaError_t launch_attention(const AttentionParams<T>& params, cudaStream_t stream) {
  return with_shape<ForwardShape, ForwardShared>(params, [&](auto shape) {
    using S = decltype(shape);
    const int64_t blocks = params.batch * params.heads * tiles_of(params.queries, S::kRows) *
                           panels_of<S>(params.value_width);
    TileMaps maps = {};
    if (const cudaError_t error =
            make_maps<S>(forward_kernel<S>, params, S::kRows, S::kColumns, &maps))
      return error;
    return launch(forward_kernel<S>, blocks, S::kThreads, sizeof(ForwardShared<S>), stream, params,
                  maps);
  });
}

template cudaError_t launch_attention(const AttentionParams<float>&, cudaStream_t);
template cudaError_t launch_attention(const AttentionParams<double>&, cudaStream_t);
template cudaError_t launch_attention(const AttentionParams<BFloat16>&, cudaStream_t);
template cudaError_t launch_attention(const AttentionParams<Float16>&, cudaStream_t);

}  // namespace pyneural::attention::cuda
