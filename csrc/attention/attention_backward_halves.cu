// The backward of attention on CUDA in halves.
#include "attention_backward_launch.cuh"

namespace pyneural::attention::cuda {

template cudaError_t choose_backward_parts(AttentionParams<BFloat16>* params);
template cudaError_t launch_attention_backward(const AttentionParams<BFloat16>& params,
                                               cudaStream_t);
template cudaError_t choose_backward_parts(AttentionParams<Float16>* params);
template cudaError_t launch_attention_backward(const AttentionParams<Float16>& params,
                                               cudaStream_t);

}  // namespace pyneural::attention::cuda
