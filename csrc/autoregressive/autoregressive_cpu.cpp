// A layer of an autoregressive flow on the CPU: forward, its inverse, and the backward of both.
//
// A block of points goes through the masked network and the transforms while its activations are in
// the second-level cache; the backward computes them anew. The inverse is one forward substitution:
// features in their order, each as soon as the units are known that its parameters depend on. It
// does the arithmetic of one pass, whatever the number of features, and so does its backward, which
// is that substitution in reverse. Threads own contiguous chunks of the rows and a gradient each,
// added in the order of the threads.
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/results.h"
#include "block.h"

namespace pyneural::autoregressive {
namespace {

template <class T, class Body>
void with_transform(const FlowLayer& layer, const Body& body) {
  if (layer.transform == TransformKind::affine)
    body(make_affine<T>(layer.slope, layer.inverse));
  else
    body(spline::make_spline<T>((layer.parameters_of_feature + 1) / 3, layer.bound, layer.slope,
                                layer.inverse));
}

int64_t threads_for(const FlowLayer& layer) {
  constexpr int64_t kMultiplyAdds = 15;  // that the transform of a parameter takes as long as
  const int64_t of_row = layer.parameters / 2 + kMultiplyAdds * layer.width.back();
  const double work = static_cast<double>(layer.rows) * static_cast<double>(of_row);
  return std::min(layer.rows, useful_threads(work));
}

// body(thread, block, first row, number of rows) for blocks of all rows.
template <class T, class Body>
void for_blocks(const FlowLayer& layer, const Conditioner<T>& network, int64_t threads,
                bool with_backward, const Body& body) {
  with_transform<T>(layer, [&](const auto& transform) {
    parallel_chunks(layer.rows, threads, [&](int64_t thread, int64_t begin, int64_t end) {
      using ABlock = Block<T, std::remove_cvref_t<decltype(transform)>>;
      Scratch scratch;
      ABlock block(layer, network, transform, with_backward, scratch);
      const int64_t points = ABlock::points(layer, with_backward),
                    blocks = (end - begin + points - 1) / points;
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t first = begin + i * (end - begin) / blocks;
        body(thread, block, first, begin + (i + 1) * (end - begin) / blocks - first);
      }
    });
  });
}

template <class T>
T* at_row(T* rows, int64_t row, int64_t columns) {
  return rows ? rows + row * columns : nullptr;
}

Two autoregressive(const Arguments& a) {
  const FlowLayer layer = check_autoregressive(a);
  const int64_t D = layer.features, C = layer.context;
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x), ladj = empty_if(true, {layer.rows}, a.x);
  if (layer.rows == 0) return {y, ladj};
  const at::Tensor x = a.x.contiguous(), degrees = a.degrees.contiguous(),
                   context = a.context ? a.context->contiguous() : at::Tensor();
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    Scratch scratch;
    const Conditioner<T> network(layer, a.weights, a.biases, degrees.const_data_ptr<int64_t>(),
                                 false, scratch);
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context);
    T *const to = y.data_ptr<T>(), *const to_ladj = ladj.data_ptr<T>();
    for_blocks(layer, network, threads_for(layer), false,
               [&](int64_t, auto& block, int64_t first, int64_t rows) {
                 block.forward(from + first * D, at_row(given, first, C), rows, to + first * D,
                               to_ladj + first);
               });
  });
  return {y, ladj};
}

// The gradients of all parameters, flat, where they were before they were sorted; 0 where masked.
template <class T>
void unsort(const Conditioner<T>& network, const T* sorted, T* to) {
  for (const MaskedLayer<T>& layer : network.layers) {
    const T* from = sorted + layer.offset;
    T* const bias = to + layer.out * layer.in;
    for (int64_t o = 0; o < layer.out; ++o, from += layer.in_stride) {
      T* const row = to + layer.output_at[o] * layer.in;
      const int64_t visible = layer.visible[o];
      for (int64_t i = 0; i < layer.in; ++i) {
        const T gradient = from[layer.input_row[i]];
        row[i] = layer.input_row[i] < visible ? gradient : T(0);
      }
    }
    for (int64_t o = 0; o < layer.out; ++o) bias[layer.output_at[o]] = from[o];
    to = bias + layer.out;
  }
}

Three autoregressive_backward(const BackwardArguments& b) {
  const FlowLayer layer = check_autoregressive_backward(b);
  const int64_t D = layer.features, C = layer.context;
  const auto [with_x, with_context, with_parameters] = b.output_mask;
  const at::Tensor grad_x = empty_if(with_x, b.x.sizes(), b.x),
                   grad_context = empty_if(with_context && b.context, {layer.rows, C}, b.x),
                   grad_parameters = empty_if(with_parameters, {layer.parameters}, b.x);
  if (layer.rows == 0) return {grad_x, grad_context, grad_parameters.zero_()};
  const at::Tensor given = b.x.contiguous(), degrees = b.degrees.contiguous(),
                   context = b.context ? b.context->contiguous() : at::Tensor(),
                   x = layer.inverse ? b.saved.contiguous() : given, grad_y = b.grad_y.contiguous(),
                   grad_ladj = b.grad_ladj.contiguous();
  const int64_t threads = threads_for(layer);
  dispatch_floating(b.x, [&](auto type) {
    using T = decltype(type);
    Scratch scratch;
    const Conditioner<T> network(layer, b.weights, b.biases, degrees.const_data_ptr<int64_t>(),
                                 true, scratch);
    const int64_t part = network.gradient_size();
    at::Tensor parts;
    if (with_parameters) parts = at::zeros({threads, part}, b.x.options());
    const T *const from = given.const_data_ptr<T>(), *const seen = x.const_data_ptr<T>(),
                   *const from_context = data_or_null<const T>(context),
                   *const from_grad = grad_y.const_data_ptr<T>(),
                   *const from_ladj = grad_ladj.const_data_ptr<T>();
    T *const to_x = data_or_null<T>(grad_x), *const to_context = data_or_null<T>(grad_context),
             *const gradients = data_or_null<T>(parts);
    for_blocks(layer, network, threads, true,
               [&](int64_t thread, auto& block, int64_t first, int64_t rows) {
                 block.backward(from + first * D, at_row(from_context, first, C), seen + first * D,
                                from_grad + first * D, from_ladj + first, rows,
                                at_row(gradients, thread, part), at_row(to_x, first, D),
                                at_row(to_context, first, C));
               });
    if (with_parameters)
      unsort(network, sum_parts(parts).template const_data_ptr<T>(), grad_parameters.data_ptr<T>());
  });
  return {grad_x, grad_context, grad_parameters};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("autoregressive", FlatOp<autoregressive, ForwardSignature<Two>>::call);
  m.impl("autoregressive_backward",
         FlatOp<autoregressive_backward, BackwardSignature<Three>>::call);
}

}  // namespace pyneural::autoregressive
