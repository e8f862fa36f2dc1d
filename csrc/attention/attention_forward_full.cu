// The forward of attention on CUDA in float and double.
#include "attention_forward_launch.cuh"

namespace pyneural::attention::cuda {

template cudaError_t choose_parts(AttentionParams<float>* params);
template cudaError_t launch_attention(const AttentionParams<float>& params, cudaStream_t stream);
template cudaError_t choose_parts(AttentionParams<double>* params);
template cudaError_t launch_attention(const AttentionParams<double>& params, cudaStream_t stream);

}  // namespace pyneural::attention::cuda
