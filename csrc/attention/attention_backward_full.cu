// The backward of attention on CUDA in float and double.
#include "attention_backward_launch.cuh"

namespace pyneural::attention::cuda {

template cudaError_t choose_backward_parts(AttentionParams<float>* params);
template cudaError_t launch_attention_backward(const AttentionParams<float>& params, cudaStream_t);
template cudaError_t choose_backward_parts(AttentionParams<double>* params);
template cudaError_t launch_attention_backward(const AttentionParams<double>& params, cudaStream_t);

}  // namespace pyneural::attention::cuda
