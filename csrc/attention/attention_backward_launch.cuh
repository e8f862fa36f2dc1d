// The launches of the backward of attention on CUDA, for the sources that instantiate them.
#pragma once

#include "attention_backward.cuh"
#include "attention_maps.cuh"
#include "attention_parts.cuh"
#include "attention_shapes.cuh"

namespace pyneural::attention::cuda {

template <class T>
cudaError_t choose_backward_parts(AttentionParams<T>* params) {
  if (params->grad_q.data) {
    const auto count = [&](auto shape, const auto&, size_t shared) {
      using S = decltype(shape);
      return count_parts(query_gradient_kernel<S>, S::kThreads, shared,
                         query_blocks<S>(*params, params->width),
                         tiles_of(params->keys_seen(), S::kColumns), &params->key_parts);
    };
    if (const cudaError_t error = with_shape<BackwardShape, QueryGradientShared>(*params, count))
      return error;
  }
  if (!params->grad_k.data && !params->grad_v.data) return cudaSuccess;
  const auto count = [&](auto shape, const auto&, size_t shared) {
    using S = decltype(shape);
    return count_parts(key_gradient_kernel<S>, S::kThreads, shared, key_blocks<S>(*params),
                       params->group * tiles_of(params->queries, S::kColumns),
                       &params->query_parts);
  };
  return with_shape<BackwardShape, KeyGradientShared>(*params, count);
}

template <class T>
cudaError_t join_gradient(const AttentionParams<T>& params, const JoinedGradient<T>& of,
                          cudaStream_t stream) {
  if (!of.to.data || of.size() == 0) return cudaSuccess;
  return launch(join_gradient_kernel<T>, tiles_of(of.size(), kJoinThreads), kJoinThreads, 0, stream,
                params, of);
}

template <class T>
cudaError_t launch_attention_backward(const AttentionParams<T>& params, cudaStream_t stream) {
  if (const cudaError_t error = launch(delta_kernel<T>, tiles_of(params.rows(), kDeltaRows),
                                       kDeltaRows * 32, 0, stream, params))
    return error;
  if (params.grad_q.data) {
    const auto launch_shape = [&](auto shape, AttentionParams<T> own, size_t shared) {
      using S = decltype(shape);
      own.parts = own.key_parts;
      TileMaps maps = {};
      if (const cudaError_t error =
              make_maps<S>(query_gradient_kernel<S>, own, S::kRows, S::kColumns, &maps))
        return error;
      return launch(query_gradient_kernel<S>, query_blocks<S>(own, own.width) * own.parts,
                    S::kThreads, shared, stream, own, maps);
    };
    if (const cudaError_t error =
            with_shape<BackwardShape, QueryGradientShared>(params, launch_shape))
      return error;
    const JoinedGradient<T> of_q = {params.part_grads, params.key_parts, params.batch,
                                    params.heads,      params.queries,   params.width,
                                    params.scale,      params.grad_q,    /*is_of_v=*/false};
    if (params.key_parts > 1)
      if (const cudaError_t error = join_gradient(params, of_q, stream)) return error;
  }
  if (!params.grad_k.data && !params.grad_v.data) return cudaSuccess;
  const auto launch_shape = [&](auto shape, AttentionParams<T> own, size_t shared) {
    using S = decltype(shape);
    own.parts = own.query_parts;
    TileMaps maps = {};
    if (const cudaError_t error =
            make_maps<S>(key_gradient_kernel<S>, own, S::kColumns, S::kRows, &maps))
      return error;
    return launch(key_gradient_kernel<S>, key_blocks<S>(own) * own.parts, S::kThreads, shared,
                  stream, own, maps);
  };
  const cudaError_t error = with_shape<BackwardShape, KeyGradientShared>(params, launch_shape);
  if (error || params.query_parts == 1) return error;
  JoinedGradient<T> of = {
      params.part_grads, params.query_parts, params.batch, params.heads / params.group,
      params.keys,       params.width,       params.scale, params.grad_k,
      /*is_of_v=*/false};
  if (const cudaError_t error = join_gradient(params, of, stream)) return error;
  of.parts = params.part_grad_v();
  of.columns = params.value_width;
  of.factor = static_cast<Accumulator<T>>(params.dropout.factor);
  of.to = params.grad_v;
  of.is_of_v = true;
  return join_gradient(params, of, stream);
}

}  // namespace pyneural::attention::cuda
