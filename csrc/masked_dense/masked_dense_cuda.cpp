// The sparsely connected layer on CUDA: checks, memory and the stream; masked_dense_cuda.cu does
// the work, and of grad_z and grad_bias csrc/dense.
#include "masked_dense_cuda.h"

#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "../dense/dense_cuda.h"
#include "masked_dense_check.h"

namespace pyneural::masked_dense {
namespace {

// One call: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor values, x, words;
  MaskedDenseParams<T> params;

  Call(const Layer& layer, const at::Tensor& of_edges, const at::Tensor& starts,
       const at::Tensor& inputs, const at::Tensor& of_rows)
      : values(of_edges.contiguous()), x(of_rows.contiguous()) {
    params.rows = layer.rows;
    params.in = layer.in;
    params.out = layer.out;
    params.edges = layer.edges;
    params.starts = starts.const_data_ptr<int64_t>();
    params.inputs = inputs.const_data_ptr<int64_t>();
    params.values = values.const_data_ptr<T>();
    params.x = x.const_data_ptr<T>();
    params.activation = layer.activation;
    constexpr int64_t kNumbers = sizeof(EdgeWord) / sizeof(int64_t);
    words = at::empty({layer.out * params.words_of_output(), kNumbers}, starts.options());
    params.words = static_cast<EdgeWord*>(words.data_ptr());
  }
};

Two masked_dense(const Arguments& a) {
  const Layer layer = check_masked_dense(a);
  const auto [y, z] = empty_outputs(a.x, layer, true);
  if (y.numel() == 0) return {y, z};
  const at::Tensor bias = a.bias ? a.bias->contiguous() : at::Tensor();
  dispatch_floating_cuda(a.x, [&, &y = y, &z = z](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call(layer, a.values, a.starts, a.inputs, a.x);
    call.params.bias = data_or_null<const T>(bias);
    call.params.y = y.data_ptr<T>();
    call.params.z = data_or_null<T>(z);
    C10_CUDA_CHECK(call.params.launch_forward(stream));
  });
  return {y, z};
}

// grad_z and, in grad_bias, its sums.
template <class T>
at::Tensor differentiate_activation(const Layer& layer, const at::Tensor& grad_y,
                                    const at::Tensor& saved, const at::Tensor& grad_bias,
                                    cudaStream_t stream) {
  const bool is_linear = layer.activation == ActivationKind::linear;
  const at::Tensor grad_z = is_linear ? grad_y : at::empty(grad_y.sizes(), grad_y.options());
  dense::GradParams<T> params{layer.rows, layer.out, layer.activation, grad_y.const_data_ptr<T>(),
                              saved.const_data_ptr<T>()};
  if (!is_linear) params.grad_z = grad_z.data_ptr<T>();
  params.configure();
  const at::Tensor partial = at::empty({params.blocks, layer.out}, grad_y.options());
  params.partial = partial.data_ptr<T>();
  params.grad_bias = grad_bias.data_ptr<T>();
  C10_CUDA_CHECK(params.launch(stream));
  return grad_z;
}

Three masked_dense_backward(const BackwardArguments& b) {
  const Layer layer = check_masked_dense_backward(b);
  const auto options = b.x.options();
  if (layer.rows == 0 || layer.out == 0)
    return {empty_if(b.with_grad_x, b.x.sizes(), b.x).zero_(), at::zeros_like(b.values),
            at::zeros({layer.out}, options)};
  const at::Tensor grad_x = empty_if(b.with_grad_x, b.x.sizes(), b.x),
                   grad_values = at::empty({layer.edges}, options),
                   grad_bias = at::empty({layer.out}, options);
  const at::Tensor grad_y = b.grad_y.contiguous(), saved = b.saved.contiguous();
  dispatch_floating_cuda(b.x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const at::Tensor grad_z = differentiate_activation<T>(layer, grad_y, saved, grad_bias, stream);
    Call<T> call(layer, b.values, b.starts, b.inputs, b.x);
    call.params.grad_z = grad_z.const_data_ptr<T>();
    call.params.grad_x = data_or_null<T>(grad_x);
    call.params.grad_values = grad_values.data_ptr<T>();
    C10_CUDA_CHECK(call.params.configure_backward());
    // Edges that are in no order are found by no tile: their gradients are zeros then.
    const at::Tensor partial = at::zeros({call.params.splits, layer.edges}, options);
    call.params.partial = partial.data_ptr<T>();
    C10_CUDA_CHECK(call.params.launch_backward(stream));
  });
  return {grad_x, grad_values, grad_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("masked_dense", FlatOp<masked_dense, ForwardSignature<Two>>::call);
  m.impl("masked_dense_backward", FlatOp<masked_dense_backward, BackwardSignature<Three>>::call);
}

}  // namespace pyneural::masked_dense
