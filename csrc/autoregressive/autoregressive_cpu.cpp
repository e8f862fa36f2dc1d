// Layers of an autoregressive flow on the CPU: forward, their inverse, and the backward of both.
//
// A block of points goes through the masked network and the transforms of a layer while its
// activations are in the second-level cache. Where a gradient is wanted they are kept: computing
// them anew takes longer than going through memory with them. The inverse is one forward
// substitution: features in their order, each as soon as the units are known that its parameters
// depend on. It does the arithmetic of one pass, whatever the number of features, and so does its
// backward, which is that substitution in reverse. Threads take shares of the blocks through all
// layers without waiting for each other; each share has a gradient, added in the order of the
// shares.
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/pool.h"
#include "../common/results.h"
#include "passes.h"

namespace pyneural::autoregressive {
namespace {

// y, ladj and what is kept for a backward.
Three forward(const Arguments& a, bool keeps) {
  const Flow flow = check_autoregressive(a);
  const int64_t D = flow.features, C = flow.context;
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x), ladj = empty_if(true, {flow.rows}, a.x),
                   kept = keeps ? pooled(kept_size(flow), a.x) : empty_if(false, {}, a.x);
  if (flow.rows == 0) return {y, ladj, kept};
  const at::Tensor x = a.x.contiguous(),
                   context = a.context ? a.context->contiguous() : at::Tensor();
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    const int64_t threads = threads_for(flow);
    Scratch scratch;
    const auto networks =
        sorted_networks<T>(flow, a.weights, a.biases, a.degrees, false, threads, scratch);
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context);
    T *const to = y.data_ptr<T>(), *const to_ladj = ladj.data_ptr<T>(),
             *const memory = data_or_null<T>(kept);
    const Blocks blocks = Blocks::cut<T>(flow.rows, threads, Block<T>::points(flow, keeps));
    if (memory) memory[0] = static_cast<T>(blocks.size);
    const int64_t stride = Block<T>::stride_of(blocks.size);
    int64_t working_size = 0, most_units = 0;
    for (const FlowLayer& layer : flow.layers) {
      working_size = std::max(working_size, Forward<T>::working_size(layer, blocks.size));
      most_units = std::max(most_units, kept_units(layer));
    }
    const Shares shares(blocks.count(), threads);
    const auto pass = [&](int64_t begin, int64_t end, T* working, T* dropped) {
      std::fill(to_ladj + blocks.first(begin), to_ladj + blocks.last(end - 1), T(0));
      for (int64_t done = 0; done < flow.size(); ++done) {
        const int64_t l = flow.passed(done);
        Forward<T> block(flow.layers[l], networks[l], blocks.size, working);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = blocks.first(i);
          block({(done == 0 ? from : to) + first * D, D, 1}, at_row(given, first, C),
                blocks.points(i), memory ? memory + kept_at(flow, blocks, stride, l, i) : dropped,
                {to + first * D, D, 1}, to_ladj + first);
        }
      }
    };
    parallel_takers(shares.count(), threads, [&](int64_t, Tasks& tasks) {
      Scratch of_thread;
      T* const working = of_thread.take<T>(working_size);
      T* const dropped = memory ? nullptr : of_thread.take<T>(most_units * stride);
      while (const auto share = tasks.take())
        pass(shares.begin(*share), shares.end(*share), working, dropped);
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
Blocks kept_blocks(const Flow& flow, const at::Tensor& kept) {
  const T size = kept.numel() == kept_size(flow) ? kept.const_data_ptr<T>()[0] : T(0);
  const T least = static_cast<T>(std::min(Blocks::kLeast, flow.rows)),
          beyond = static_cast<T>(flow.rows + lanes<T>());
  const bool is_size = least <= size && size < beyond;  // NaN is none
  const Blocks blocks{flow.rows, is_size ? static_cast<int64_t>(size) : 0};
  TORCH_CHECK_VALUE(
      is_size && blocks.size % lanes<T>() == 0,
      "autoregressive_backward: saved: expected what autoregressive_with_saved returned, got ",
      kept.sizes(), "; call the one with the arguments of the other");
  return blocks;
}

Three autoregressive_backward(const BackwardArguments& b) {
  const Flow flow = check_autoregressive_backward(b);
  const int64_t D = flow.features, C = flow.context;
  const auto [with_x, with_context, with_parameters] = b.output_mask;
  // Those of the results of a layer, which those of what it was given take the place of.
  const at::Tensor grad_given = empty_if(with_x || flow.size() > 1, b.x.sizes(), b.x),
                   grad_context = empty_if(with_context && b.context, {flow.rows, C}, b.x),
                   grad_parameters = empty_if(with_parameters, {flow.parameters}, b.x),
                   grad_x = with_x ? grad_given : empty_if(false, {}, b.x);
  if (flow.rows == 0) return {grad_x, grad_context, grad_parameters.zero_()};
  const at::Tensor kept = b.saved.contiguous(), grad_y = b.grad_y.contiguous(),
                   grad_ladj = b.grad_ladj.contiguous();
  dispatch_floating(b.x, [&](auto type) {
    using T = decltype(type);
    const Blocks blocks = kept_blocks<T>(flow, kept);
    const int64_t threads = threads_for(flow), stride = Block<T>::stride_of(blocks.size);
    const Shares shares = Shares::with_sums(blocks.count(), threads, sum_bytes<T>(flow));
    Scratch scratch;
    const auto networks =
        sorted_networks<T>(flow, b.weights, b.biases, b.degrees, true, threads, scratch);
    const std::vector<int64_t> at = gradients_at(networks);
    const int64_t part = at.back();
    at::Tensor parts;
    if (with_parameters) parts = at::empty({shares.count(), part}, b.x.options());
    const T *const memory = kept.const_data_ptr<T>(), *const from_grad = grad_y.const_data_ptr<T>(),
                   *const from_ladj = grad_ladj.const_data_ptr<T>();
    T *const to_given = data_or_null<T>(grad_given),
             *const to_context = data_or_null<T>(grad_context),
             *const gradients = data_or_null<T>(parts);
    int64_t working_size = 0;
    for (const FlowLayer& layer : flow.layers)
      working_size = std::max(working_size, Backward<T>::working_size(layer, blocks.size));
    const auto pass = [&](int64_t begin, int64_t end, T* working, T* own) {
      if (to_context)
        std::fill(to_context + blocks.first(begin) * C, to_context + blocks.last(end - 1) * C,
                  T(0));
      for (int64_t done = 0; done < flow.size(); ++done) {
        const int64_t l = flow.passed(flow.size() - 1 - done);
        const bool stores = with_x || done + 1 < flow.size();
        Backward<T> block(flow.layers[l], networks[l], blocks.size, working);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = blocks.first(i);
          block({(done == 0 ? from_grad : to_given) + first * D, D, 1}, from_ladj + first,
                blocks.points(i), memory + kept_at(flow, blocks, stride, l, i),
                {own ? own + at[l] : nullptr,
                 i == begin,
                 {stores ? to_given + first * D : nullptr, D, 1},
                 at_row(to_context, first, C)});
        }
      }
    };
    parallel_takers(shares.count(), threads, [&](int64_t, Tasks& tasks) {
      Scratch of_thread;
      T* const working = of_thread.take<T>(working_size);
      while (const auto share = tasks.take())
        pass(shares.begin(*share), shares.end(*share), working, at_row(gradients, *share, part));
    });
    if (with_parameters) {
      std::vector<T*> weights, biases;
      T* to = grad_parameters.data_ptr<T>();
      for (const Conditioner<T>& network : networks)
        for (const MaskedLayer<T>& layer : network.layers) {
          weights.push_back(to);
          biases.push_back(to + layer.out * layer.in);
          to = biases.back() + layer.out;
        }
      add_and_unsort(networks, at, shares.count(), threads, gradients, weights, biases);
    }
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
