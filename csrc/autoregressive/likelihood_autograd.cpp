// The mean negative log-likelihood of a flow under autograd and autocast.
//
// The op gives the gradient beside the loss, so that the backward is a product with it. Where a
// graph of the backward is wanted, the gradient is that of the layers, whose own can be
// differentiated.
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include "../common/autograd.h"
#include "../common/dispatch.h"
#include "autoregressive_check.h"

namespace pyneural::autoregressive {
namespace {

constexpr Op<"pyneural::autoregressive", ForwardSignature<Two>> call_layers;
constexpr Op<"pyneural::autoregressive_nll", LikelihoodSignature<at::Tensor>>
    call_autoregressive_nll;
constexpr Op<"pyneural::autoregressive_nll_with_gradients", GradientSignature<Four>>
    call_autoregressive_nll_with_gradients;

// scale times parts of `all`, each of the size and shape of a tensor, one after the other. On the
// CPU a loop, which takes less time for a few thousand elements than three calls of torch.
class ScaledParts {
 public:
  ScaledParts(const at::Tensor& scale, const at::Tensor& all)
      : scale_(scale),
        all_(all),
        is_plain_(all.is_cpu() && !at::areAnyTensorSubclassLike({scale, all})),
        factor_(is_plain_ ? scale.item().toDouble() : 0) {}

  at::Tensor next(const at::Tensor& like) {
    const c10::SymInt begin = offset_;  // sizes may be symbols, under torch.compile
    offset_ += like.sym_numel();
    if (!is_plain_)
      return scale_ * all_.narrow_symint(0, begin, like.sym_numel()).view_symint(like.sym_sizes());
    at::Tensor part = at::empty(like.sizes(), all_.options());
    dispatch_floating(all_, [&](auto type) {
      using T = decltype(type);
      const T* const from = all_.const_data_ptr<T>() + begin.expect_int();
      std::transform(from, from + part.numel(), part.data_ptr<T>(),
                     [factor = static_cast<T>(factor_)](T element) { return factor * element; });
    });
    return part;
  }
  void skip(const at::Tensor& like) { offset_ += like.sym_numel(); }

 private:
  const at::Tensor &scale_, &all_;
  const bool is_plain_;
  const double factor_;
  c10::SymInt offset_ = 0;
};

struct Likelihood : torch::autograd::Function<Likelihood> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const OptionalTensor& context, at::TensorList weights,
                            at::TensorList biases, at::TensorList degrees,
                            std::string_view activation, std::string_view transform, double bound,
                            double slope) {
    const std::array<bool, 3> mask{x.requires_grad(), requires_grad(context),
                                   requires_grad(weights) || requires_grad(biases)};
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [loss, grad_x, grad_context, grad_parameters] =
        call_autoregressive_nll_with_gradients(x, context, weights, biases, degrees, activation,
                                               transform, bound, slope, mask);
    variable_list tensors{x, context.value_or(at::Tensor()), grad_x, grad_context, grad_parameters};
    for (const at::TensorList each : {weights, biases, degrees})
      tensors.insert(tensors.end(), each.begin(), each.end());
    ctx->saved_data["layers"] = static_cast<int64_t>(degrees.size());
    ctx->save_for_backward(tensors);
    ctx->saved_data["activation"] = std::string(activation);
    ctx->saved_data["transform"] = std::string(transform);
    ctx->saved_data["bound"] = bound;
    ctx->saved_data["slope"] = slope;
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    constexpr size_t kBefore = 5;  // tensors saved before the parameters
    const variable_list saved = ctx->get_saved_variables();
    const auto layers = static_cast<size_t>(ctx->saved_data["layers"].toInt());
    const size_t parameters = saved.size() - kBefore - layers, matrices = parameters / 2;
    const at::TensorList all(saved), weights = all.slice(kBefore, matrices),
                                     biases = all.slice(kBefore + matrices, matrices),
                                     degrees = all.slice(kBefore + parameters);
    const at::Tensor &x = saved[0], &context = saved[1];
    const bool has_context = context.defined();
    // The inputs in the order in which autograd counts those that are given.
    variable_list inputs{x};
    if (has_context) inputs.push_back(context);
    inputs.insert(inputs.end(), saved.begin() + kBefore, saved.begin() + kBefore + parameters);
    variable_list found(inputs.size());

    if (at::GradMode::is_enabled()) {
      const auto [z, ladj] = call_layers(
          x, if_defined(context), weights, biases, degrees,
          ctx->saved_data["activation"].toStringRef(), ctx->saved_data["transform"].toStringRef(),
          ctx->saved_data["bound"].toDouble(), ctx->saved_data["slope"].toDouble(), false);
      const at::Tensor loss = ((z * z).sum(1) / 2 - ladj).mean();
      variable_list wanted;
      for (size_t i = 0; i < inputs.size(); ++i)
        if (ctx->needs_input_grad(i)) wanted.push_back(inputs[i]);
      const variable_list gradients = torch::autograd::grad({loss}, wanted, {grads[0]},
                                                            /*retain_graph=*/true,
                                                            /*create_graph=*/true,
                                                            /*allow_unused=*/true);
      for (size_t i = 0, next = 0; i < inputs.size(); ++i)
        if (ctx->needs_input_grad(i)) found[i] = gradients[next++];
    } else {
      const size_t before = 1 + has_context;
      if (ctx->needs_input_grad(0)) found[0] = grads[0] * saved[2];
      if (has_context && ctx->needs_input_grad(1)) found[1] = grads[0] * saved[3];
      if (saved[4].sym_numel() != 0) {
        ScaledParts parts(grads[0], saved[4]);
        for (size_t l = 0; l < matrices; ++l)
          for (const size_t i : {before + l, before + matrices + l}) {
            if (ctx->needs_input_grad(i))
              found[i] = parts.next(inputs[i]);
            else
              parts.skip(inputs[i]);
          }
      }
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
