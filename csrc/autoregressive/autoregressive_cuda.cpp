// Layers of an autoregressive flow on CUDA: checks, memory and the stream;
// autoregressive_cuda.cu does the work of a layer.
#include "autoregressive_cuda.h"

#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "../common/dispatch_cuda.h"
#include "../common/results.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {
namespace {

// What all layers of a call are given.
struct Given {
  const OptionalTensor& context;
  at::TensorList weights, biases, degrees;
};

// A layer: the kernels' params, and the memory behind them.
template <class T>
struct Call {
  at::Tensor x, context, degrees, parameters, index, sorted, scratch;
  AutoregressiveParams<T> params;

  Call(const char* op, const Flow& flow, int64_t which, const at::Tensor& of_layer,
       const Given& given, bool backward)
      : x(of_layer.contiguous()),
        context(given.context ? given.context->contiguous() : at::Tensor()),
        degrees(given.degrees[which].contiguous()) {
    const FlowLayer& layer = flow.layers[which];
    TORCH_CHECK_VALUE(layer.layers() <= kMaxLayers, op, ": weights: expected at most ", kMaxLayers,
                      " layers on CUDA, got ", layer.layers(), "; use fewer, or the CPU");
    parameters = join_parameters(layer.of(given.weights), layer.of(given.biases), &params);
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

// y and ladj of one layer.
void run_layer(const char* op, const Flow& flow, int64_t which, const at::Tensor& x,
               const Given& given, const at::Tensor& y, const at::Tensor& ladj) {
  dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    Call<T> call(op, flow, which, x, given, false);
    call.params.y = y.data_ptr<T>();
    call.params.ladj = ladj.data_ptr<T>();
    C10_CUDA_CHECK(call.params.launch_forward(stream));
  });
}

// What the layer that is passed after `done` others gave, [N, D]: those before the last are saved.
at::Tensor result_of(const at::Tensor& saved, int64_t done, const at::Tensor& x) {
  return saved.narrow(0, done * x.numel(), x.numel()).view(x.sizes());
}

Three autoregressive_with_saved(const Arguments& a) {
  const char* const op = "autoregressive";
  const Flow flow = check_autoregressive(a);
  const int64_t last = flow.size() - 1;
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x), ladj = empty_if(true, {flow.rows}, a.x),
                   saved = empty_if(true, {last * a.x.numel()}, a.x);
  if (flow.rows == 0) return {y, ladj, saved};
  const Given given{a.context, a.weights, a.biases, a.degrees};
  for (int64_t done = 0; done <= last; ++done) {
    const at::Tensor of_layer = done == 0 ? ladj : at::empty_like(ladj);
    run_layer(op, flow, flow.passed(done), done == 0 ? a.x : result_of(saved, done - 1, a.x), given,
              done == last ? y : result_of(saved, done, a.x), of_layer);
    if (done > 0) ladj.add_(of_layer);
  }
  return {y, ladj, saved};
}

Two autoregressive(const Arguments& a) {
  const auto [y, ladj, saved] = autoregressive_with_saved(a);
  return {y, ladj};
}

Three autoregressive_backward(const BackwardArguments& b) {
  const char* const op = "autoregressive_backward";
  const Flow flow = check_autoregressive_backward(b);
  const int64_t last = flow.size() - 1;
  const auto [with_x, with_context, with_parameters] = b.output_mask;
  TORCH_CHECK_VALUE(b.saved.numel() == last * b.x.numel(), op,
                    ": saved: expected what autoregressive_with_saved returned, got ",
                    b.saved.sizes(), "; call the one with the arguments of the other");
  const bool wants_context = with_context && b.context;
  const at::Tensor grad_context = empty_if(wants_context, {flow.rows, flow.context}, b.x),
                   grad_parameters = empty_if(with_parameters, {flow.parameters}, b.x);
  if (flow.rows == 0)
    return {empty_if(with_x, b.x.sizes(), b.x), grad_context, grad_parameters.zero_()};
  const Given given{b.context, b.weights, b.biases, b.degrees};
  const at::Tensor grad_ladj = b.grad_ladj.contiguous();
  at::Tensor grad_result = b.grad_y.contiguous(), grad_x = empty_if(false, {}, b.x);
  for (int64_t done = last; done >= 0; --done) {
    const int64_t which = flow.passed(done);
    const FlowLayer& layer = flow.layers[which];
    const at::Tensor x = (done == 0 ? b.x : result_of(b.saved, done - 1, b.x)).contiguous();
    // What the network has seen: of a substitution what it found.
    at::Tensor seen = x;
    if (layer.by_substitution() && done < last) seen = result_of(b.saved, done, b.x).contiguous();
    if (layer.by_substitution() && done == last) {
      seen = at::empty_like(x);
      run_layer(op, flow, which, x, given, seen, at::empty_like(grad_ladj));
    }
    grad_x = empty_if(with_x || done > 0, x.sizes(), x);
    const at::Tensor of_context =
        wants_context && done < last ? at::empty_like(grad_context) : grad_context;
    int64_t offset = 0;
    for (int64_t l = 0; l < which; ++l) offset += flow.layers[l].parameters;
    dispatch_floating_cuda(x, [&](auto type, cudaStream_t stream) {
      using T = decltype(type);
      Call<T> call(op, flow, which, x, given, true);
      at::Tensor partial, total;
      if (with_parameters) {
        partial = at::empty({call.params.blocks, call.params.gradient_size}, x.options());
        total = at::empty({call.params.gradient_size}, x.options());
        call.params.grad_parameters = grad_parameters.data_ptr<T>() + offset;
      }
      call.params.seen = seen.const_data_ptr<T>();
      call.params.grad_y = grad_result.const_data_ptr<T>();
      call.params.grad_ladj = grad_ladj.const_data_ptr<T>();
      call.params.grad_x = data_or_null<T>(grad_x);
      call.params.grad_context = data_or_null<T>(of_context);
      call.params.partial = data_or_null<T>(partial);
      call.params.total = data_or_null<T>(total);
      C10_CUDA_CHECK(call.params.launch_backward(stream));
    });
    if (wants_context && done < last) grad_context.add_(of_context);
    grad_result = grad_x;
  }
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
