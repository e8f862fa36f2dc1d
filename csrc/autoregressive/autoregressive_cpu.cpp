// A layer of an autoregressive flow on the CPU: forward, its inverse, and the backward of both.
//
// A block of points goes through the masked network and the transforms while its activations are in
// the second-level cache. Where a gradient is wanted they are kept: computing them anew takes
// longer than going through memory with them. The inverse is one forward substitution: features in
// their order, each as soon as the units are known that its parameters depend on. It does the
// arithmetic of one pass, whatever the number of features, and so does its backward, which is that
// substitution in reverse. Threads own contiguous blocks and a gradient each, added in the order of
// the threads.
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/pool.h"
#include "../common/results.h"
#include "backward.h"
#include "forward.h"

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

template <class T>
T* at_row(T* rows, int64_t row, int64_t columns) {
  return rows ? rows + row * columns : nullptr;
}

// y, ladj and what is kept for a backward.
Three forward(const Arguments& a, bool keeps) {
  const FlowLayer layer = check_autoregressive(a);
  const int64_t D = layer.features, C = layer.context, units = kept_units(layer);
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x), ladj = empty_if(true, {layer.rows}, a.x),
                   kept = keeps ? pooled(kept_size(layer), a.x) : empty_if(false, {}, a.x);
  if (layer.rows == 0) return {y, ladj, kept};
  const at::Tensor x = a.x.contiguous(), degrees = a.degrees.contiguous(),
                   context = a.context ? a.context->contiguous() : at::Tensor();
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    Scratch scratch;
    const Conditioner<T> network(layer, a.weights, a.biases, degrees.const_data_ptr<int64_t>(),
                                 false, scratch);
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context);
    T *const to = y.data_ptr<T>(), *const to_ladj = ladj.data_ptr<T>(),
             *const memory = data_or_null<T>(kept);
    const int64_t threads = threads_for(layer);
    const Blocks blocks = Blocks::cut<T>(layer.rows, threads, Block<T>::points(layer, keeps));
    if (memory) memory[0] = static_cast<T>(blocks.size);
    const int64_t stride = Block<T>::stride_of(blocks.size);
    with_transform<T>(layer, [&](const auto& transform) {
      parallel_chunks(blocks.count(), threads, [&](int64_t, int64_t begin, int64_t end) {
        Scratch of_thread;
        Forward<T, std::remove_cvref_t<decltype(transform)>> block(layer, network, transform,
                                                                   blocks.size, of_thread);
        T* const working = memory ? nullptr : of_thread.take<T>(units * stride);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = blocks.first(i);
          block(from + first * D, at_row(given, first, C), blocks.points(i),
                memory ? memory + kKeptBefore + i * units * stride : working, to + first * D,
                to_ladj + first);
        }
      });
    });
  });
  return {y, ladj, kept};
}

Two autoregressive(const Arguments& a) {
  const auto [y, ladj, kept] = forward(a, false);
  return {y, ladj};
}
Three autoregressive_with_saved(const Arguments& a) { return forward(a, true); }

// The blocks that a forward has kept.
template <class T>
Blocks kept_blocks(const FlowLayer& layer, const at::Tensor& kept) {
  const T size = kept.numel() == kept_size(layer) ? kept.const_data_ptr<T>()[0] : T(0);
  const T least = static_cast<T>(std::min(Blocks::kLeast, layer.rows)),
          beyond = static_cast<T>(layer.rows + lanes<T>());
  const bool is_size = least <= size && size < beyond;  // NaN is none
  const Blocks blocks{layer.rows, is_size ? static_cast<int64_t>(size) : 0};
  TORCH_CHECK_VALUE(
      is_size && blocks.size % lanes<T>() == 0,
      "autoregressive_backward: saved: expected what autoregressive_with_saved returned, got ",
      kept.sizes(), "; call the one with the arguments of the other");
  return blocks;
}

// The sum of the gradients of all threads, flat, where the parameters were before they were sorted;
// 0 where masked. Adds to those of the first thread.
template <class T>
void add_and_unsort(const Conditioner<T>& network, int64_t threads, T* sorted, T* to) {
  const int64_t size = network.gradient_size();
  for (int64_t thread = 1; thread < threads; ++thread)
    for (int64_t i = 0; i < size; ++i) sorted[i] += sorted[thread * size + i];
  for (const MaskedLayer<T>& layer : network.layers) {
    const T* from = sorted + layer.offset;
    T* const bias = to + layer.out * layer.in;
    for (int64_t o = 0; o < layer.out; ++o, from += layer.in_stride) {
      T* const row = to + layer.output_at[o] * layer.in;
      const int64_t visible = layer.visible[o];
      if (layer.in_order) {
        std::fill(std::copy_n(from, visible, row), row + layer.in, T(0));
        continue;
      }
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
  const int64_t D = layer.features, C = layer.context, units = kept_units(layer);
  const auto [with_x, with_context, with_parameters] = b.output_mask;
  const at::Tensor grad_x = empty_if(with_x, b.x.sizes(), b.x),
                   grad_context = empty_if(with_context && b.context, {layer.rows, C}, b.x),
                   grad_parameters = empty_if(with_parameters, {layer.parameters}, b.x);
  if (layer.rows == 0) return {grad_x, grad_context, grad_parameters.zero_()};
  const at::Tensor given = b.x.contiguous(), degrees = b.degrees.contiguous(),
                   kept = b.saved.contiguous(), grad_y = b.grad_y.contiguous(),
                   grad_ladj = b.grad_ladj.contiguous();
  dispatch_floating(b.x, [&](auto type) {
    using T = decltype(type);
    const Blocks blocks = kept_blocks<T>(layer, kept);
    const int64_t threads = std::min(threads_for(layer), blocks.count()),
                  stride = Block<T>::stride_of(blocks.size);
    Scratch scratch;
    const Conditioner<T> network(layer, b.weights, b.biases, degrees.const_data_ptr<int64_t>(),
                                 true, scratch);
    const int64_t part = network.gradient_size();
    at::Tensor parts;
    if (with_parameters) parts = at::empty({threads, part}, b.x.options());
    const T *const from = given.const_data_ptr<T>(), *const memory = kept.const_data_ptr<T>(),
                   *const from_grad = grad_y.const_data_ptr<T>(),
                   *const from_ladj = grad_ladj.const_data_ptr<T>();
    T *const to_x = data_or_null<T>(grad_x), *const to_context = data_or_null<T>(grad_context),
             *const gradients = data_or_null<T>(parts);
    with_transform<T>(layer, [&](const auto& transform) {
      parallel_chunks(blocks.count(), threads, [&](int64_t thread, int64_t begin, int64_t end) {
        Scratch of_thread;
        Backward<T, std::remove_cvref_t<decltype(transform)>> block(layer, network, transform,
                                                                    blocks.size, of_thread);
        if (gradients) std::fill_n(gradients + thread * part, part, T(0));
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = blocks.first(i);
          block(from + first * D, from_grad + first * D, from_ladj + first, blocks.points(i),
                memory + kKeptBefore + i * units * stride,
                {at_row(gradients, thread, part), at_row(to_x, first, D),
                 at_row(to_context, first, C)});
        }
      });
    });
    if (with_parameters) add_and_unsort(network, threads, gradients, grad_parameters.data_ptr<T>());
  });
  return {grad_x, grad_context, grad_parameters};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("autoregressive", FlatOp<autoregressive, ForwardSignature<Two>>::call);
  m.impl("autoregressive_with_saved",
         FlatOp<autoregressive_with_saved, ForwardSignature<Three>>::call);
  m.impl("autoregressive_backward",
         FlatOp<autoregressive_backward, BackwardSignature<Three>>::call);
}

}  // namespace pyneural::autoregressive
