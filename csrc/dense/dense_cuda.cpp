// The dense layer on CUDA: checks, memory and the stream; dense_cuda.cu does the work.
#include "dense_cuda.h"
#include "../common/dispatch_cuda.h"
#include "../common/float32_precision.h"
#include "dense_ops.h"

namespace pyneural::dense {
namespace {

// Runs a product whose operands and results are set.
template <class T>
void run(ProductParams<T> params, const at::Tensor& like, cudaStream_t stream) {
  params.with_tf32 = allows_tf32();
  C10_CUDA_CHECK(params.configure());
  at::Tensor partial;
  if (params.splits > 1)
    partial = at::empty({params.splits, params.rows, params.columns},
                        like.options().dtype(accumulator_dtype(like)));
  params.partial = mutable_elements<Accumulator<T>>(partial);
  C10_CUDA_CHECK(params.launch(stream));
}

struct Kernels {
  static constexpr bool kHasReduced = true;

  static void forward(const Layer& layer, const at::Tensor& x, const at::Tensor& weight,
                      const at::Tensor& bias, const at::Tensor& y, const at::Tensor& z) {
    dispatch_with_reduced_cuda(x, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      const Operand<T> rows{elements<T>(x), layer.in, 1}, columns{elements<T>(weight), layer.in, 1};
      ProductParams<T> params{layer.rows, layer.out,         layer.in,        rows,
                              columns,    elements<T>(bias), layer.activation};
      params.y = mutable_elements<T>(y);
      if (z.numel() > 0) params.z = mutable_elements<T>(z);
      run(params, x, stream);
    });
  }

  static void backward(const Layer& layer, const at::Tensor& grad_y, const at::Tensor& x,
                       const at::Tensor& weight, const at::Tensor& saved, const Three& grads) {
    const auto& [grad_x, grad_weight, grad_bias] = grads;
    const bool is_linear = layer.activation == ActivationKind::linear;
    const bool with_bias = grad_bias.numel() > 0;
    const at::Tensor grad_z = is_linear ? grad_y : at::empty(grad_y.sizes(), x.options());
    dispatch_with_reduced_cuda(x, [&, &grad_x = grad_x, &grad_weight = grad_weight,
                                   &grad_bias = grad_bias](auto type, cudaStream_t stream) {
      using T = decltype(type);
      if (!is_linear || with_bias) {
        GradParams<T> params{layer.rows, layer.out, layer.activation, elements<T>(grad_y),
                             elements<T>(saved)};
        if (!is_linear) params.grad_z = mutable_elements<T>(grad_z);
        params.configure();
        at::Tensor partial;
        if (with_bias) {
          partial = at::empty({params.blocks, layer.out}, x.options().dtype(accumulator_dtype(x)));
          params.partial = mutable_elements<Accumulator<T>>(partial);
          params.grad_bias = mutable_elements<T>(grad_bias);
        }
        C10_CUDA_CHECK(params.launch(stream));
      }
      if (grad_x.numel() > 0) {  // grad_z W
        const Operand<T> a{elements<T>(grad_z), layer.out, 1}, b{elements<T>(weight), 1, layer.in};
        ProductParams<T> params{layer.rows, layer.in, layer.out, a, b};
        params.y = mutable_elements<T>(grad_x);
        run(params, x, stream);
      }
      if (grad_weight.numel() > 0) {  // grad_z^T x
        const Operand<T> a{elements<T>(grad_z), 1, layer.out}, b{elements<T>(x), 1, layer.in};
        ProductParams<T> params{layer.out, layer.in, layer.rows, a, b};
        params.y = mutable_elements<T>(grad_weight);
        run(params, x, stream);
      }
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::dense
