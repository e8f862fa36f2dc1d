// The mean negative log-likelihood of a whole flow on the CPU, and its gradient, in one pass.
//
// A block of points goes through all layers and back while its activations are in the second-level
// cache: nothing is kept from one call for another, and the weights are sorted once. What a thread
// adds up, losses and gradients of parameters, is added in the order of the threads.
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/results.h"
#include "passes.h"

namespace pyneural::autoregressive {
namespace {

// Where the gradients go, null where they are not wanted: those of x [N, D] and of the context
// [N, C], and those of the parameters, sorted, which are added.
template <class T>
struct GradientsOfAll {
  T *x, *context, *parameters;

  bool any() const { return x || context || parameters; }
};

// Blocks on their way through all layers and back, on one thread.
template <class T, class Transform>
class Likelihood {
 public:
  Likelihood(const Flow& flow, const std::vector<Conditioner<T>>& networks,
             const std::vector<int64_t>& gradients_at, const std::vector<Transform>& transforms,
             int64_t most_points, bool with_gradient, Scratch& scratch)
      : flow_(flow), gradients_at_(gradients_at) {
    const int64_t stride = Block<T>::stride_of(most_points);
    int64_t forward = 0, backward = 0, kept = 0;
    for (const FlowLayer& layer : flow.layers) {
      forward = std::max(forward, Forward<T, Transform>::working_size(layer, most_points));
      backward = std::max(backward, Backward<T, Transform>::working_size(layer, most_points));
      const int64_t of_layer = kept_units(layer) * stride;
      kept_at_.push_back(with_gradient ? kept : 0);
      kept = with_gradient ? kept + of_layer : std::max(kept, of_layer);
    }
    kept_ = scratch.take<T>(kept);
    y_ = scratch.take<T>(most_points * flow.features);
    ladj_ = scratch.take<T>(most_points);
    T* const memory = scratch.take<T>(forward);
    for (int64_t l = 0; l < flow.size(); ++l)
      forward_.emplace_back(flow.layers[l], networks[l], transforms[l], most_points, memory);
    if (!with_gradient) return;
    T* const memory_of_backward = scratch.take<T>(backward);
    for (int64_t l = 0; l < flow.size(); ++l)
      backward_.emplace_back(flow.layers[l], networks[l], transforms[l], most_points,
                             memory_of_backward);
  }

  // The sum of |z|^2 / 2 - ladj of some points. `weight` is that of a point in the mean.
  double operator()(const T* x, const T* context, int64_t points, T weight,
                    const GradientsOfAll<T>& to) {
    const int64_t D = flow_.features;
    std::fill_n(ladj_, points, T(0));
    for (int64_t l = 0; l < flow_.size(); ++l)
      forward_[l](l == 0 ? x : y_, context, points, kept_ + kept_at_[l], y_, ladj_);
    double loss = 0;
    for (int64_t n = 0; n < points; ++n) {
      T squares(0);
      for (int64_t d = 0; d < D; ++d) squares += y_[n * D + d] * y_[n * D + d];
      loss += static_cast<double>(squares / 2 - ladj_[n]);
    }
    if (!to.any()) return loss;
    for (int64_t i = 0; i < points * D; ++i) y_[i] *= weight;
    std::fill_n(ladj_, points, -weight);
    if (to.context) std::fill_n(to.context, points * flow_.context, T(0));
    for (int64_t l = flow_.size() - 1; l >= 0; --l)
      backward_[l](y_, ladj_, points, kept_ + kept_at_[l],
                   {to.parameters ? to.parameters + gradients_at_[l] : nullptr, l == 0 ? to.x : y_,
                    to.context});
    return loss;
  }

 private:
  const Flow& flow_;
  const std::vector<int64_t>& gradients_at_;
  std::vector<Forward<T, Transform>> forward_;
  std::vector<Backward<T, Transform>> backward_;
  std::vector<int64_t> kept_at_;
  T *kept_, *y_, *ladj_;  // see Activations; [n][D]; [n]
};

// Points of a block: as many as keep the activations of all layers in the second-level cache, with
// room for the weights of one.
template <class T>
int64_t points_of(const Flow& flow, bool with_gradient) {
  if (!with_gradient) return Block<T>::points(flow, false);
  int64_t units = 0;
  for (const FlowLayer& layer : flow.layers) units += kept_units(layer);
  const int64_t cached = caches().level2 * 3 / 4 / (units * static_cast<int64_t>(sizeof(T)));
  return std::clamp<int64_t>(cached / panel_width<T>(), 1, 15) * panel_width<T>();
}

Four autoregressive_nll_with_gradients(const LikelihoodArguments& a) {
  const Flow flow = check_autoregressive_nll(a);
  const int64_t D = flow.features, C = flow.context;
  const auto [with_x, with_context, with_parameters] = a.output_mask;
  const bool with_gradient = with_x || with_parameters || (with_context && C > 0);
  const at::Tensor loss = at::empty({}, a.x.options()), grad_x = empty_if(with_x, a.x.sizes(), a.x),
                   grad_context = empty_if(with_context && a.context, {flow.rows, C}, a.x),
                   grad_parameters = empty_if(with_parameters, {flow.parameters}, a.x);
  const at::Tensor x = a.x.contiguous(),
                   context = a.context ? a.context->contiguous() : at::Tensor();
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    const Blocks blocks =
        Blocks::cut<T>(flow.rows, threads_for(flow), points_of<T>(flow, with_gradient));
    const int64_t threads = std::min(threads_for(flow), blocks.count());
    Scratch scratch;
    const auto networks =
        sorted_networks<T>(flow, a.weights, a.biases, a.degrees, with_gradient, threads, scratch);
    const std::vector<int64_t> at = gradients_at(networks);
    const int64_t part = at.back();
    T* const gradients = with_parameters ? scratch.take<T>(threads * part) : nullptr;
    std::vector<double> losses(threads, 0);
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context);
    T *const to_x = data_or_null<T>(grad_x), *const to_context = data_or_null<T>(grad_context);
    const T weight = T(1) / static_cast<T>(flow.rows);
    with_transform<T>(flow.layers.front(), [&](const auto& first_transform) {
      using Transform = std::remove_cvref_t<decltype(first_transform)>;
      std::vector<Transform> transforms;
      for (const FlowLayer& layer : flow.layers)
        with_transform<T>(layer, [&](const auto& transform) {
          if constexpr (std::is_same_v<decltype(transform), const Transform&>)
            transforms.push_back(transform);
        });
      parallel_chunks(blocks.count(), threads, [&](int64_t thread, int64_t begin, int64_t end) {
        Scratch of_thread;
        T* const own = at_row(gradients, thread, part);
        if (own) std::fill_n(own, part, T(0));
        Likelihood<T, Transform> likelihood(flow, networks, at, transforms, blocks.size,
                                            with_gradient, of_thread);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = blocks.first(i);
          losses[thread] +=
              likelihood(from + first * D, at_row(given, first, C), blocks.points(i), weight,
                         {at_row(to_x, first, D), at_row(to_context, first, C), own});
        }
      });
    });
    double total = 0;
    for (const double of_thread : losses) total += of_thread;
    constexpr double kLogTwoPi = 1.8378770664093453;
    loss.data_ptr<T>()[0] = static_cast<T>(total / static_cast<double>(flow.rows) +
                                           kLogTwoPi / 2 * static_cast<double>(D));
    if (with_parameters) {
      std::vector<T*> to{grad_parameters.data_ptr<T>()};
      for (const FlowLayer& layer : flow.layers) to.push_back(to.back() + layer.parameters);
      parallel_tasks(flow.size(), threads, [&](int64_t l) {
        add_and_unsort(networks[l], threads, part, gradients + at[l], to[l]);
      });
    }
  });
  return {loss, grad_x, grad_context, grad_parameters};
}

at::Tensor autoregressive_nll(const LikelihoodArguments& a) {
  return std::get<0>(autoregressive_nll_with_gradients(a));
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("autoregressive_nll", FlatOp<autoregressive_nll, LikelihoodSignature<at::Tensor>>::call);
  m.impl("autoregressive_nll_with_gradients",
         FlatOp<autoregressive_nll_with_gradients, GradientSignature<Four>>::call);
}

}  // namespace pyneural::autoregressive
