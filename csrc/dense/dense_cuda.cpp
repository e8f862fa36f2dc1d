// The dense layer on CUDA: checks, memory and the stream; dense_cuda.cu does the work.
#include <ATen/Context.h>
#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "dense_check.h"
#include "dense_cuda.h"

namespace pyneural::dense {
namespace {

// Runs a product whose operands and results are set.
template <class T>
void run(ProductParams<T> params, const at::Tensor& like, cudaStream_t stream) {
  params.with_tf32 = at::globalContext().allowTF32CuBLAS();
  C10_CUDA_CHECK(configure_product(&params));
  at::Tensor partial;
  if (params.splits > 1)
    partial = at::empty({params.splits, params.rows, params.columns},
                        like.options().dtype(accumulator_dtype(like)));
  params.partial = mutable_elements<Accumulator<T>>(partial);
  C10_CUDA_CHECK(launch_product(params, stream));
}

std::tuple<at::Tensor, at::Tensor> dense_forward(const at::Tensor& x, const at::Tensor& weight,
                                                 const std::optional<at::Tensor>& bias,
                                                 std::string_view activation,
                                                 bool with_preactivation) {
  const Layer layer = check_dense(x, weight, bias, activation);
  const auto [y, z] = empty_outputs(x, layer, with_preactivation);
  if (y.numel() == 0) return {y, z};
  const auto x_rows = x.expect_contiguous(), w = weight.expect_contiguous();
  const at::Tensor b = bias ? bias->contiguous() : at::Tensor();
  dispatch_with_reduced_cuda(x, [&, &y = y, &z = z](auto type, cudaStream_t stream) {
    using T = decltype(type);
    ProductParams<T> params;
    params.rows = layer.rows;
    params.columns = layer.out;
    params.depth = layer.in;
    params.a = {elements<T>(*x_rows), layer.in, 1};
    params.b = {elements<T>(*w), layer.in, 1};
    params.bias = elements<T>(b);
    params.activation = layer.activation;
    params.y = mutable_elements<T>(y);
    if (z.numel() > 0) params.z = mutable_elements<T>(z);
    run(params, x, stream);
  });
  return {y, z};
}

at::Tensor dense(const at::Tensor& x, const at::Tensor& weight,
                 const std::optional<at::Tensor>& bias, std::string_view activation) {
  return std::get<0>(dense_forward(x, weight, bias, activation, false));
}

std::tuple<at::Tensor, at::Tensor> dense_with_preactivation(const at::Tensor& x,
                                                            const at::Tensor& weight,
                                                            const std::optional<at::Tensor>& bias,
                                                            std::string_view activation) {
  return dense_forward(x, weight, bias, activation, true);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> dense_backward(
    const at::Tensor& grad_y, const at::Tensor& x, const at::Tensor& weight,
    const std::optional<at::Tensor>& bias, const at::Tensor& saved, std::string_view activation,
    std::array<bool, 3> output_mask) {
  const Layer layer = check_dense_backward(grad_y, x, weight, bias, saved, activation, output_mask);
  const at::Tensor grad_x = empty_if(output_mask[0], x.sizes(), x),
                   grad_weight = empty_if(output_mask[1], weight.sizes(), x),
                   grad_bias = empty_if(output_mask[2], {layer.out}, x);
  if (layer.rows == 0 || layer.out == 0)
    return {grad_x.zero_(), grad_weight.zero_(), grad_bias.zero_()};
  const auto grad = grad_y.expect_contiguous(), x_rows = x.expect_contiguous(),
             w = weight.expect_contiguous(), saved_rows = saved.expect_contiguous();
  const bool is_linear = layer.activation == ActivationKind::linear;
  const at::Tensor grad_z = is_linear ? *grad : at::empty(grad_y.sizes(), x.options());
  dispatch_with_reduced_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    if (!is_linear || output_mask[2]) {
      GradParams<T> params;
      params.rows = layer.rows;
      params.columns = layer.out;
      params.activation = layer.activation;
      params.grad_y = elements<T>(*grad);
      params.saved = elements<T>(*saved_rows);
      if (!is_linear) params.grad_z = mutable_elements<T>(grad_z);
      configure_grad(&params);
      at::Tensor partial;
      if (output_mask[2]) {
        partial = at::empty({params.blocks, layer.out}, x.options().dtype(accumulator_dtype(x)));
        params.partial = mutable_elements<Accumulator<T>>(partial);
        params.grad_bias = mutable_elements<T>(grad_bias);
      }
      C10_CUDA_CHECK(launch_grad(params, stream));
    }
    if (output_mask[0] && grad_x.numel() > 0) {  // grad_z W
      ProductParams<T> params;
      params.rows = layer.rows;
      params.columns = layer.in;
      params.depth = layer.out;
      params.a = {elements<T>(grad_z), layer.out, 1};
      params.b = {elements<T>(*w), 1, layer.in};
      params.y = mutable_elements<T>(grad_x);
      run(params, x, stream);
    }
    if (output_mask[1] && grad_weight.numel() > 0) {  // grad_z^T x
      ProductParams<T> params;
      params.rows = layer.out;
      params.columns = layer.in;
      params.depth = layer.rows;
      params.a = {elements<T>(grad_z), 1, layer.out};
      params.b = {elements<T>(*x_rows), 1, layer.in};
      params.y = mutable_elements<T>(grad_weight);
      run(params, x, stream);
    }
  });
  return {grad_x, grad_weight, grad_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("dense", dense);
  m.impl("dense_with_preactivation", dense_with_preactivation);
  m.impl("dense_backward", dense_backward);
}

}  // namespace pyneural::dense
