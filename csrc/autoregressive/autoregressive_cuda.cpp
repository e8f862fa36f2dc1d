// The layer of an autoregressive flow on CUDA: checks, memory and the stream;
// autoregressive_cuda.cu does the work.
#include "autoregressive_cuda.h"

#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {
namespace {

// One call: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor x, context, degrees, parameters, index, sorted, scratch;
  AutoregressiveParams<T> params;

  Call(const char* op, const FlowLayer& layer, const at::Tensor& given,
       const OptionalTensor& given_context, at::TensorList weights, at::TensorList biases,
       const at::Tensor& given_degrees, bool backward)
      : x(given.contiguous()),
        context(given_context ? given_context->contiguous() : at::Tensor()),
        degrees(given_degrees.contiguous()) {
    TORCH_CHECK_VALUE(layer.layers() <= kMaxLayers, op, ": weights: expected at most ", kMaxLayers,
                      " layers on CUDA, got ", layer.layers(), "; use fewer, or the CPU");
    parameters = join_parameters(weights, biases, &params);
    params.activation = layer.activation;
    params.is_affine = layer.transform == TransformKind::affine;
    params.affine = make_affine<T>(layer.slope, layer.inverse);
    params.spline = spline::make_spline<T>((layer.parameters_of_feature + 1) / 3, layer.bound,
                                           layer.slope, layer.inverse);
    params.inverse = layer.inverse;
    params.rows = layer.rows;
    params.features = layer.features;
    params.context_columns = layer.context;
    params.parameters_of_feature = layer.parameters_of_feature;
    params.x = x.const_data_ptr<T>();
    params.context = data_or_null<const T>(context);
    params.degrees = degrees.const_data_ptr<int64_t>();
    params.parameters = parameters.template const_data_ptr<T>();
    C10_CUDA_CHECK(params.configure(backward));
    index = at::empty({params.kIndices, params.units}, degrees.options());
    sorted = at::empty({params.sorted_size}, x.options());
    params.index = index.data_ptr<int64_t>();
    params.sorted = sorted.data_ptr<T>();
    if (params.shared_slab) return;
    scratch = at::empty({params.blocks, params.slab.size}, x.options());
    params.scratch = scratch.data_ptr<T>();
  }
};

Two autoregressive(const Arguments& a) {
  const FlowLayer layer = check_autoregressive(a);
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x), ladj = empty_if(true, {layer.rows}, a.x);
  if (layer.rows == 0) return {y, ladj};
  dispatch_floating_cuda(a.x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call("autoregressive", layer, a.x, a.context, a.weights, a.biases, a.degrees, false);
    call.params.y = y.data_ptr<T>();
    call.params.ladj = ladj.data_ptr<T>();
    C10_CUDA_CHECK(call.params.launch_forward(stream));
  });
  return {y, ladj};
}

Three autoregressive_with_saved(const Arguments& a) {
  const auto [y, ladj] = autoregressive(a);
  return {y, ladj, empty_if(false, {}, a.x)};
}

Three autoregressive_backward(const BackwardArguments& b) {
  const FlowLayer layer = check_autoregressive_backward(b);
  const auto [with_x, with_context, with_parameters] = b.output_mask;
  const at::Tensor grad_x = empty_if(with_x, b.x.sizes(), b.x),
                   grad_context =
                       empty_if(with_context && b.context, {layer.rows, layer.context}, b.x),
                   grad_parameters = empty_if(with_parameters, {layer.parameters}, b.x);
  if (layer.rows == 0) return {grad_x, grad_context, grad_parameters.zero_()};
  // What the network has seen: of a substitution what it found.
  const at::Tensor seen =
      layer.by_substitution()
          ? std::get<0>(autoregressive({b.x, b.context, b.weights, b.biases, b.degrees,
                                        b.activation, b.transform, b.bound, b.slope, b.inverse}))
          : b.x.contiguous();
  dispatch_floating_cuda(b.x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call("autoregressive_backward", layer, b.x, b.context, b.weights, b.biases, b.degrees,
                 true);
    const at::Tensor grad_y = b.grad_y.contiguous(), grad_ladj = b.grad_ladj.contiguous();
    at::Tensor partial, total;
    if (with_parameters) {
      partial = at::empty({call.params.blocks, call.params.gradient_size}, b.x.options());
      total = at::empty({call.params.gradient_size}, b.x.options());
    }
    call.params.seen = seen.const_data_ptr<T>();
    call.params.grad_y = grad_y.const_data_ptr<T>();
    call.params.grad_ladj = grad_ladj.const_data_ptr<T>();
    call.params.grad_x = data_or_null<T>(grad_x);
    call.params.grad_context = data_or_null<T>(grad_context);
    call.params.partial = data_or_null<T>(partial);
    call.params.total = data_or_null<T>(total);
    call.params.grad_parameters = data_or_null<T>(grad_parameters);
    C10_CUDA_CHECK(call.params.launch_backward(stream));
  });
  return {grad_x, grad_context, grad_parameters};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("autoregressive", FlatOp<autoregressive, ForwardSignature<Two>>::call);
  m.impl("autoregressive_with_saved",
         FlatOp<autoregressive_with_saved, ForwardSignature<Three>>::call);
  m.impl("autoregressive_backward",
         FlatOp<autoregressive_backward, BackwardSignature<Three>>::call);
}

}  // namespace pyneural::autoregressive
