// The launches of the forward of attention on CUDA, for the sources that instantiate them.
#pragma once

#include "attention_forward.cuh"
#include "attention_maps.cuh"
#include "attention_parts.cuh"
#include "attention_shapes.cuh"

namespace pyneural::attention::cuda {

template <class T>
cudaError_t choose_parts(AttentionParams<T>* params) {
  const auto count = [&](auto shape, const auto&, size_t shared) {
    using S = decltype(shape);
    return count_parts(forward_kernel<S>, S::kThreads, shared,
                       query_blocks<S>(*params, params->value_width),
                       tiles_of(params->keys_seen(), S::kColumns), &params->parts);
  };
  return with_shape<ForwardShape, ForwardShared>(*params, count);
}

template <class T>
cudaError_t launch_attention(const AttentionParams<T>& params, cudaStream_t stream) {
  const auto launch_shape = [&](auto shape, const AttentionParams<T>& own, size_t shared) {
    using S = decltype(shape);
    const int64_t blocks = query_blocks<S>(own, own.value_width) * own.parts;
    TileMaps maps = {};
    if (const cudaError_t error =
            make_maps<S>(forward_kernel<S>, own, S::kRows, S::kColumns, &maps))
      return error;
    return launch(forward_kernel<S>, blocks, S::kThreads, shared, stream, own, maps);
  };
  const cudaError_t error = with_shape<ForwardShape, ForwardShared>(params, launch_shape);
  if (error || params.parts == 1) return error;
  return launch(join_parts_kernel<T>, tiles_of(params.rows() * join_panels(params), kJoinWarps),
                kJoinWarps * 32, 0, stream, params);
}

}  // namespace pyneural::attention::cuda
