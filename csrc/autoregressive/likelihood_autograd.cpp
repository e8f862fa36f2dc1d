// The mean negative log-likelihood of a flow under autograd and autocast.
//
// The op gives the gradient beside the loss, so that the backward is a product with it, or nothing
// where the loss is what is differentiated: then what was saved becomes the gradient. Where a
// graph of the backward is wanted, the gradient is that of the layers, whose own can be
// differentiated.
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/library.h>

#include "../common/autograd.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {
namespace {

constexpr Op<"pyneural::autoregressive", ForwardSignature<Two>> call_layers;
constexpr Op<"pyneural::autoregressive_nll", LikelihoodSignature<at::Tensor>>
    call_autoregressive_nll;
constexpr Op<"pyneural::autoregressive_nll_with_gradients",
             GradientSignature<std::vector<at::Tensor>>>
    call_autoregressive_nll_with_gradients;

// Whether nobody can ask for what this backward has saved again.
bool is_last_use() { return !torch::autograd::get_current_graph_task_keep_graph(); }

bool is_one(const at::Tensor& scale) {
  return scale.is_cpu() && !at::isTensorSubclassLike(scale) && scale.item().toDouble() == 1;
}

struct Likelihood : torch::autograd::Function<Likelihood> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const OptionalTensor& context, at::TensorList weights,
                            at::TensorList biases, at::TensorList degrees,
                            std::string_view activation, std::string_view transform, double bound,
                            double slope) {
    const std::array<bool, 3> mask{x.requires_grad(), requires_grad(context),
                                   requires_grad(weights) || requires_grad(biases)};
    const at::AutoDispatchBelowADInplaceOrView below;
    const std::vector<at::Tensor> loss_and_gradients = call_autoregressive_nll_with_gradients(
        x, context, weights, biases, degrees, activation, transform, bound, slope, mask);
    // First the inputs, then as many gradients, in the order in which autograd counts them.
    variable_list tensors{x}, gradients(loss_and_gradients.begin() + 1, loss_and_gradients.end());
    if (context)
      tensors.push_back(*context);
    else
      gradients.erase(gradients.begin() + 1);
    for (const at::TensorList each : {weights, biases})
      tensors.insert(tensors.end(), each.begin(), each.end());
    gradients.resize(tensors.size());  // where those of the parameters are not wanted
    tensors.insert(tensors.end(), gradients.begin(), gradients.end());
    tensors.insert(tensors.end(), degrees.begin(), degrees.end());
    ctx->save_for_backward(tensors);
    ctx->saved_data["layers"] = static_cast<int64_t>(degrees.size());
    ctx->saved_data["has_context"] = context.has_value();
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["transform"] = std::string(transform);
    ctx->saved_data["bound"] = bound;
    ctx->saved_data["slope"] = slope;
    return loss_and_gradients.front();
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto layers = static_cast<size_t>(ctx->saved_data["layers"].toInt());
    const bool has_context = ctx->saved_data["has_context"].toBool();
    const size_t count = (saved.size() - layers) / 2, before = 1 + has_context,
                 matrices = (count - before) / 2;
    const at::TensorList all(saved), inputs = all.slice(0, count),
                                     gradients = all.slice(count, count);
    variable_list found(count);

    if (at::GradMode::is_enabled()) {
      // Inputs may depend on each other, or be the same twice: the gradient of each is that of an
      // alias of its own.
      variable_list aliases, wanted;
      for (size_t i = 0; i < count; ++i) {
        aliases.push_back(ctx->needs_input_grad(i) ? inputs[i].view_as(inputs[i]) : inputs[i]);
        if (ctx->needs_input_grad(i)) wanted.push_back(aliases[i]);
      }
      const at::TensorList given(aliases);
      const auto [z, ladj] = call_layers(
          given[0], has_context ? OptionalTensor(given[1]) : std::nullopt,
          given.slice(before, matrices), given.slice(before + matrices), all.slice(2 * count),
          ctx->saved_data["activation"].toStringRef(), ctx->saved_data["transform"].toStringRef(),
          ctx->saved_data["bound"].toDouble(), ctx->saved_data["slope"].toDouble(), false);
      const at::Tensor loss = ((z * z).sum(1) / 2 - ladj).mean();
      const variable_list of_graph =
          torch::autograd::grad({loss}, wanted, {grads[0]}, /*retain_graph=*/true,
                                /*create_graph=*/true, /*allow_unused=*/true);
      for (size_t i = 0, next = 0; i < count; ++i)
        if (ctx->needs_input_grad(i)) found[i] = of_graph[next++];
    } else {
      const bool is_whole = is_last_use() && is_one(grads[0]);
      for (size_t i = 0; i < count; ++i)
        if (ctx->needs_input_grad(i)) found[i] = is_whole ? gradients[i] : grads[0] * gradients[i];
    }
    // x, the context, weights and biases, then the arguments that have no gradient.
    variable_list result{found[0], has_context ? found[1] : at::Tensor()};
    result.insert(result.end(), found.begin() + 1 + has_context, found.end());
    result.resize(result.size() + layers + 4);
    return result;
  }
};

// In float32, as the layers are.
template <at::DeviceType device>
at::Tensor autoregressive_nll_autocast(const at::Tensor& x, const OptionalTensor& context,
                                       at::TensorList weights, at::TensorList biases,
                                       at::TensorList degrees, std::string_view activation,
                                       std::string_view transform, double bound, double slope) {
  const Autocast cast(device, at::kFloat);
  return call_autoregressive_nll(cast(x), cast(context), cast(weights), cast(biases), degrees,
                                 activation, transform, bound, slope);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_autoregressive_nll",
        FlatOp<check_autoregressive_nll, LikelihoodSignature<void>>::call);
  m.def("check_autoregressive_nll_with_gradients",
        FlatOp<check_autoregressive_nll, GradientSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("autoregressive_nll", AutogradOp<Likelihood, call_autoregressive_nll>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("autoregressive_nll", autoregressive_nll_autocast<at::kCPU>);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("autoregressive_nll", autoregressive_nll_autocast<at::kCUDA>);
}

}  // namespace pyneural::autoregressive
