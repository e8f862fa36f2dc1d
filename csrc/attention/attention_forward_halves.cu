// The forward of attention on CUDA in halves.
#include "attention_forward_launch.cuh"

namespace pyneural::attention::cuda {

template cudaError_t choose_parts(AttentionParams<BFloat16>* params);
template cudaError_t launch_attention(const AttentionParams<BFloat16>& params, cudaStream_t stream);
template cudaError_t choose_parts(AttentionParams<Float16>* params);
template cudaError_t launch_attention(const AttentionParams<Float16>& params, cudaStream_t stream);

}  // namespace pyneural::attention::cuda
