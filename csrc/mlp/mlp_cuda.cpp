// The mlp ops on CUDA: checks, memory and the stream; mlp_cuda.cu does the work.
#include "mlp_cuda.h"
#include "../common/dispatch_cuda.h"
#include "../common/layer_tensors.h"
#include "mlp_ops.h"

namespace pyneural::mlp {
namespace {

// One call: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  std::vector<at::Tensor> parameters;
  at::Tensor scratch;
  MlpParams<T> params;

  Call(const char* op, const Network& network, const at::Tensor& x, at::TensorList weights,
       at::TensorList biases, bool backward, bool sums_gradients) {
    static_assert(kMostFusedLayers <= kMaxLayers);
    TORCH_CHECK_VALUE(network.layers() <= kMaxLayers, op, ": weights: expected at most ",
                      kMaxLayers, " layers, got ", network.layers(), "; mlp takes more one by one");
    parameters = point_to_layers(weights, biases, &params.layers);
    params.hidden = network.hidden;
    params.final = network.final;
    params.rows = network.rows;
    params.x = x.const_data_ptr<T>();
    C10_CUDA_CHECK(params.configure(backward, sums_gradients));
    if (params.tile.shared_slab) return;
    scratch = at::empty({params.tile.blocks * params.tile.slab}, x.options());
    params.scratch = scratch.template data_ptr<T>();
  }
};

struct Kernels {
  static void forward(const Network& network, const at::Tensor& x, at::TensorList weights,
                      at::TensorList biases, const at::Tensor& y) {
    dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      Call<T> call("mlp", network, x, weights, biases, false, false);
      call.params.y = y.data_ptr<T>();
      C10_CUDA_CHECK(call.params.launch_forward(stream));
    });
  }

  static void backward(const Network& network, const at::Tensor& grad_y, const at::Tensor& x,
                       at::TensorList weights, at::TensorList biases, const at::Tensor& grad_x,
                       const at::Tensor& grad_parameters) {
    dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      Call<T> call("mlp_backward", network, x, weights, biases, true, grad_parameters.numel() > 0);
      const at::Tensor partial =
          at::empty({call.params.tile.blocks, grad_parameters.numel()}, x.options());
      call.params.grad_y = grad_y.const_data_ptr<T>();
      call.params.grad_x = data_or_null<T>(grad_x);
      call.params.partial = data_or_null<T>(partial);
      call.params.grad_parameters = data_or_null<T>(grad_parameters);
      C10_CUDA_CHECK(call.params.launch_backward(stream));
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::mlp
