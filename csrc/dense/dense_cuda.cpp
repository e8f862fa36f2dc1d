// The dense layer on CUDA: checks, memory and the stream; dense_cuda.cu does the work.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "../common/tensor_core_types.h"
#include "dense_check.h"
#include "dense_cuda.h"

namespace pyneural::dense {
namespace {

// The elements of a tensor as the kernels know them, and the type that sums them.
template <class T, class S>
struct Type {
  using Element = T;
  using Accumulator = S;
};

template <class Body>
void dispatch(const at::Tensor& x, const Body& body) {
  const c10::cuda::CUDAGuard guard(x.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  switch (x.scalar_type()) {
    case at::kFloat:
      return body(Type<float, float>{}, stream);
    case at::kDouble:
      return body(Type<double, double>{}, stream);
    case at::kBFloat16:
      return body(Type<BFloat16, float>{}, stream);
    case at::kHalf:
      return body(Type<Float16, float>{}, stream);
    default:
      TORCH_CHECK_VALUE(false, "dense: x: expected float32, float64, bfloat16 or float16, got ",
                        x.scalar_type(), "; convert it with x.float()");
  }
}

template <class T>
const T* elements(const at::Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <class T>
T* elements_to_write(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Runs a product whose operands and results are set.
template <class T, class Accumulator>
void run(ProductParams<T, Accumulator> params, const at::Tensor& like, cudaStream_t stream) {
  params.with_tf32 = at::globalContext().allowTF32CuBLAS();
  C10_CUDA_CHECK(configure_product(&params));
  at::Tensor partial;
  if (params.splits > 1) {
    const auto sum_type = like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    partial =
        at::empty({params.splits, params.rows, params.columns}, like.options().dtype(sum_type));
    params.partial = partial.template data_ptr<Accumulator>();
  }
  C10_CUDA_CHECK(launch_product(params, stream));
}

std::tuple<at::Tensor, at::Tensor> dense_forward(const at::Tensor& x, const at::Tensor& weight,
                                                 const std::optional<at::Tensor>& bias,
                                                 std::string_view activation,
                                                 bool with_preactivation) {
  const Layer layer = check_dense("dense", x, weight, bias, activation);
  at::Tensor y = at::empty(output_shape(x, layer), x.options());
  const bool with_z = with_preactivation && needs_preactivation(layer.activation);
  at::Tensor z = at::empty(with_z ? y.sizes() : at::IntArrayRef{0}, x.options());
  if (y.numel() == 0) return {y, z};
  const auto x_rows = x.expect_contiguous(), w = weight.expect_contiguous();
  const at::Tensor b = bias ? bias->contiguous() : at::Tensor();
  dispatch(x, [&](auto type, cudaStream_t stream) {
    using T = typename decltype(type)::Element;
    ProductParams<T, typename decltype(type)::Accumulator> params;
    params.rows = layer.rows;
    params.columns = layer.out;
    params.depth = layer.in;
    params.a = {elements<T>(*x_rows), layer.in, 1};
    params.b = {elements<T>(*w), layer.in, 1};
    if (bias) params.bias = elements<T>(b);
    params.activation = layer.activation;
    params.y = elements_to_write<T>(y);
    if (with_z) params.z = elements_to_write<T>(z);
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
    const at::Tensor& saved, std::string_view activation, std::array<bool, 3> output_mask) {
  const Layer layer = check_dense_backward(grad_y, x, weight, saved, activation);
  const auto wanted = [&](bool is, at::IntArrayRef shape) {
    return at::empty(is ? shape : at::IntArrayRef{0}, x.options());
  };
  at::Tensor grad_x = wanted(output_mask[0], x.sizes());
  at::Tensor grad_weight = wanted(output_mask[1], weight.sizes());
  at::Tensor grad_bias = wanted(output_mask[2], {layer.out});
  if (layer.rows == 0 || layer.out == 0)
    return {grad_x.zero_(), grad_weight.zero_(), grad_bias.zero_()};
  const auto grad = grad_y.expect_contiguous(), x_rows = x.expect_contiguous(),
             w = weight.expect_contiguous(), saved_rows = saved.expect_contiguous();
  const bool is_linear = layer.activation == ActivationKind::linear;
  const at::Tensor grad_z = is_linear ? *grad : at::empty(grad_y.sizes(), x.options());
  dispatch(x, [&](auto type, cudaStream_t stream) {
    using T = typename decltype(type)::Element;
    using Accumulator = typename decltype(type)::Accumulator;
    if (!is_linear || output_mask[2]) {
      GradParams<T, Accumulator> params;
      params.rows = layer.rows;
      params.columns = layer.out;
      params.activation = layer.activation;
      params.grad_y = elements<T>(*grad);
      params.saved = elements<T>(*saved_rows);
      if (!is_linear) params.grad_z = elements_to_write<T>(grad_z);
      configure_grad(&params);
      at::Tensor partial;
      if (output_mask[2]) {
        const auto sum_type = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
        partial = at::empty({params.blocks, layer.out}, x.options().dtype(sum_type));
        params.partial = partial.template data_ptr<Accumulator>();
        params.grad_bias = elements_to_write<T>(grad_bias);
      }
      C10_CUDA_CHECK(launch_grad(params, stream));
    }
    if (output_mask[0] && grad_x.numel() > 0) {  // grad_z W
      ProductParams<T, Accumulator> params;
      params.rows = layer.rows;
      params.columns = layer.in;
      params.depth = layer.out;
      params.a = {elements<T>(grad_z), layer.out, 1};
      params.b = {elements<T>(*w), 1, layer.in};
      params.y = elements_to_write<T>(grad_x);
      run(params, x, stream);
    }
    if (output_mask[1] && grad_weight.numel() > 0) {  // grad_z^T x
      ProductParams<T, Accumulator> params;
      params.rows = layer.out;
      params.columns = layer.in;
      params.depth = layer.rows;
      params.a = {elements<T>(grad_z), 1, layer.out};
      params.b = {elements<T>(*x_rows), 1, layer.in};
      params.y = elements_to_write<T>(grad_weight);
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
