// The backward of attention on CUDA.
#include "attention_backward.cuh"
#include "attention_maps.cuh"
#include "attention_shapes.cuh"

namespace pyneural::attention::cuda {

template <class T>
cudaError_t launch_attention_backward(const AttentionParams<T>& params, cudaStream_t stream) {
  const int64_t heads = params.batch * params.heads;
  if (const cudaError_t error =
          launch(delta_kernel<T>, tiles_of(heads * params.queries, kDeltaRows), kDeltaRows * 32, 0,
                 stream, params))
    return error;
  if (params.grad_q.data) {
    const cudaError_t error =
        with_shape<BackwardShape, QueryGradientShared>(params, [&](auto shape) {
          using S = decltype(shape);
          const int64_t blocks =
              heads * tiles_of(params.queries, S::kRows) * panels_of<S>(params.width);
          TileMaps maps = {};
          if (const cudaError_t error =
                  make_maps<S>(query_gradient_kernel<S>, params, S::kRows, S::kColumns, &maps))
            return error;
          return launch(query_gradient_kernel<S>, blocks, S::kThreads,
                        sizeof(QueryGradientShared<S>), stream, params, maps);
        });
    if (error) return error;
  }
  if (!params.grad_k.data && !params.grad_v.data) return cudaSuccess;
  return with_shape<BackwardShape, KeyGradientShared>(params, [&](auto shape) {
    using S = decltype(shape);
    const int64_t blocks =
        heads / params.group * tiles_of(params.keys, S::kRows) * key_panels<S>(params);
    TileMaps maps = {};
    if (const cudaError_t error =
            make_maps<S>(key_gradient_kernel<S>, params, S::kColumns, S::kRows, &maps))
      return error;
    return launch(key_gradient_kernel<S>, blocks, S::kThreads, sizeof(KeyGradientShared<S>), stream,
                  params, maps);
  });
}

template cudaError_t launch_attention_backward(const AttentionParams<float>&, cudaStream_t);
template cudaError_t launch_attention_backward(const AttentionParams<double>&, cudaStream_t);
template cudaError_t launch_attention_backward(const AttentionParams<BFloat16>&, cudaStream_t);
template cudaError_t launch_attention_backward(const AttentionParams<Float16>&, cudaStream_t);

}  // namespace pyneural::attention::cuda
