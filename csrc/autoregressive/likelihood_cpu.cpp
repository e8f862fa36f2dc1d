// The mean negative log-likelihood of a whole flow on the CPU, and its gradient, in one pass.
//
// A block of points goes through all layers and back while its activations are in the second-level
// cache: nothing is kept from one call for another, and the weights are sorted once. Threads take
// shares of the points; what is added up over a share, losses and gradients of parameters, is added
// in the order of the shares.
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
template <class T>
class Likelihood {
 public:
  Likelihood(const Flow& flow, const std::vector<Conditioner<T>>& networks,
             const std::vector<int64_t>& gradients_at, int64_t most_points, bool with_gradient,
             Scratch& scratch)
      : flow_(flow), gradients_at_(gradients_at) {
    const int64_t stride = Block<T>::stride_of(most_points);
    int64_t forward = 0, backward = 0, kept = 0;
    for (const FlowLayer& layer : flow.layers) {
      forward = std::max(forward, Forward<T>::working_size(layer, most_points));
      backward = std::max(backward, Backward<T>::working_size(layer, most_points));
      const int64_t of_layer = kept_units(layer) * stride;
      kept_at_.push_back(with_gradient ? kept : 0);
      kept = with_gradient ? kept + of_layer : std::max(kept, of_layer);
    }
    kept_ = scratch.take<T>(kept);
    y_ = scratch.take<T>(flow.features * stride);
    ladj_ = scratch.take<T>(most_points);
    T* const memory = scratch.take<T>(forward);
    for (int64_t l = 0; l < flow.size(); ++l)
      forward_.emplace_back(flow.layers[l], networks[l], most_points, memory);
    if (!with_gradient) return;
    T* const memory_of_backward = scratch.take<T>(backward);
    for (int64_t l = 0; l < flow.size(); ++l)
      backward_.emplace_back(flow.layers[l], networks[l], most_points, memory_of_backward);
  }

  // The sum of |z|^2 / 2 - ladj of some points. `weight` is that of a point in the mean, and
  // `is_first` says that gradients are not added to others.
  double operator()(const T* x, const T* context, int64_t points, T weight, bool is_first,
                    const GradientsOfAll<T>& to) {
    const int64_t D = flow_.features, stride = Block<T>::stride_of(points);
    const Points<T> y{y_, 1, stride};
    std::fill_n(ladj_, points, T(0));
    for (int64_t l = 0; l < flow_.size(); ++l)
      forward_[l](l == 0 ? Points<const T>{x, D, 1} : y, context, points, kept_ + kept_at_[l], y,
                  ladj_);
    double loss = 0;
    for (int64_t n = 0; n < points; ++n) {
      T squares(0);
      for (int64_t d = 0; d < D; ++d) squares += y.column(d)[n] * y.column(d)[n];
      loss += static_cast<double>(squares / 2 - ladj_[n]);
    }
    if (!to.any()) return loss;
    for (int64_t d = 0; d < D; ++d)
      for (int64_t n = 0; n < points; ++n) y.column(d)[n] *= weight;
    std::fill_n(ladj_, points, -weight);
    if (to.context) std::fill_n(to.context, points * flow_.context, T(0));
    for (int64_t l = flow_.size() - 1; l >= 0; --l)
      backward_[l](y, ladj_, points, kept_ + kept_at_[l],
                   {to.parameters ? to.parameters + gradients_at_[l] : nullptr, is_first,
                    l == 0 ? Points<T>{to.x, D, 1} : y, to.context});
    return loss;
  }

 private:
  const Flow& flow_;
  const std::vector<int64_t>& gradients_at_;
  std::vector<Forward<T>> forward_;
  std::vector<Backward<T>> backward_;
  std::vector<int64_t> kept_at_;
  T *kept_, *y_, *ladj_;  // see Activations; [D][n]; [n]
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

std::vector<at::Tensor> autoregressive_nll_with_gradients(const LikelihoodArguments& a) {
  const Flow flow = check_autoregressive_nll(a);
  const int64_t D = flow.features, C = flow.context;
  const auto [with_x, with_context, with_parameters] = a.output_mask;
  const bool with_gradient = with_x || with_parameters || (with_context && C > 0);
  const at::Tensor loss = at::empty({}, a.x.options()), grad_x = empty_if(with_x, a.x.sizes(), a.x),
                   grad_context = empty_if(with_context && a.context, {flow.rows, C}, a.x);
  std::vector<at::Tensor> grad_parameters;
  if (with_parameters)
    for (const at::TensorList parameters : {a.weights, a.biases})
      for (const at::Tensor& parameter : parameters)
        grad_parameters.push_back(at::empty(parameter.sizes(), a.x.options()));
  const at::Tensor x = a.x.contiguous(),
                   context = a.context ? a.context->contiguous() : at::Tensor();
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    const int64_t threads = threads_for(flow);
    constexpr int64_t kLeastPoints = 96;
    const Shares shares = Shares::with_sums(vectors_of<T>(flow.rows), threads, sum_bytes<T>(flow),
                                            kLeastPoints / lanes<T>());
    const auto blocks_of = [&, points = points_of<T>(flow, with_gradient)](int64_t share) {
      const int64_t begin = shares.begin(share) * lanes<T>(),
                    end = std::min(shares.end(share) * lanes<T>(), flow.rows);
      return Blocks::cut<T>(end - begin, 1, points);
    };
    int64_t most_points = 0;
    for (int64_t share = 0; share < shares.count(); ++share)
      most_points = std::max(most_points, blocks_of(share).size);
    Scratch scratch;
    const auto networks =
        sorted_networks<T>(flow, a.weights, a.biases, a.degrees, with_gradient, threads, scratch);
    const std::vector<int64_t> at = gradients_at(networks);
    const int64_t part = at.back();
    T* const gradients = with_parameters ? scratch.take<T>(shares.count() * part) : nullptr;
    std::vector<double> losses(shares.count(), 0);
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context);
    T *const to_x = data_or_null<T>(grad_x), *const to_context = data_or_null<T>(grad_context);
    const T weight = T(1) / static_cast<T>(flow.rows);
    parallel_takers(shares.count(), threads, [&](int64_t, Tasks& tasks) {
      Scratch of_thread;
      Likelihood<T> likelihood(flow, networks, at, most_points, with_gradient, of_thread);
      while (const auto share = tasks.take()) {
        const Blocks blocks = blocks_of(*share);
        for (int64_t i = 0; i < blocks.count(); ++i) {
          const int64_t first = shares.begin(*share) * lanes<T>() + blocks.first(i);
          losses[*share] += likelihood(from + first * D, at_row(given, first, C), blocks.points(i),
                                       weight, i == 0,
                                       {at_row(to_x, first, D), at_row(to_context, first, C),
                                        at_row(gradients, *share, part)});
        }
      }
    });
    double total = 0;
    for (const double of_share : losses) total += of_share;
    constexpr double kLogTwoPi = 1.8378770664093453;
    loss.data_ptr<T>()[0] = static_cast<T>(total / static_cast<double>(flow.rows) +
                                           kLogTwoPi / 2 * static_cast<double>(D));
    if (with_parameters) {
      std::vector<T*> weights, biases;
      for (size_t i = 0; i < grad_parameters.size(); ++i)
        (i < a.weights.size() ? weights : biases).push_back(grad_parameters[i].data_ptr<T>());
      add_and_unsort(networks, at, shares.count(), threads, gradients, weights, biases);
    }
  });
  std::vector<at::Tensor> result{loss, grad_x, grad_context};
  result.insert(result.end(), grad_parameters.begin(), grad_parameters.end());
  return result;
}

at::Tensor autoregressive_nll(const LikelihoodArguments& a) {
  return autoregressive_nll_with_gradients(a).front();
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("autoregressive_nll", FlatOp<autoregressive_nll, LikelihoodSignature<at::Tensor>>::call);
  m.impl(
      "autoregressive_nll_with_gradients",
      FlatOp<autoregressive_nll_with_gradients, GradientSignature<std::vector<at::Tensor>>>::call);
}

}  // namespace pyneural::autoregressive
