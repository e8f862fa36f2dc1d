// The rational-quadratic spline under autograd. Nothing but the arguments is saved.
#include <torch/library.h>

#include "../common/autograd.h"
#include "spline_check.h"

namespace pyneural::spline {
namespace {

constexpr Op<"pyneural::rational_quadratic_spline", ForwardSignature<Two>> call_spline;
constexpr Op<"pyneural::rational_quadratic_spline_backward", BackwardSignature<Four>>
    call_spline_backward;

struct RationalQuadraticSpline : torch::autograd::Function<RationalQuadraticSpline> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& widths,
                               const at::Tensor& heights, const at::Tensor& derivatives,
                               double bound, double slope, bool inverse) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({x, widths, heights, derivatives});
    ctx->saved_data["bound"] = bound;
    ctx->saved_data["slope"] = slope;
    ctx->saved_data["inverse"] = inverse;
    const auto [y, ladj] = call_spline(x, widths, heights, derivatives, bound, slope, inverse);
    return {y, ladj};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    auto& data = ctx->saved_data;
    const auto [x, widths, heights, derivatives] = call_backward(
        call_spline_backward, grads[0], grads[1], saved[0], saved[1], saved[2], saved[3],
        data["bound"].toDouble(), data["slope"].toDouble(), data["inverse"].toBool());
    variable_list found{x, widths, heights, derivatives};
    for (size_t i = 0; i < found.size(); ++i)
      if (!ctx->needs_input_grad(i)) found[i] = at::Tensor();
    found.resize(7);  // bound, slope and inverse have none
    return found;
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_rational_quadratic_spline",
        FlatOp<check_rational_quadratic_spline, ForwardSignature<void>>::call);
  m.def("check_rational_quadratic_spline_backward",
        FlatOp<check_rational_quadratic_spline_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) {
  m.impl("rational_quadratic_spline", AutogradOp<RationalQuadraticSpline, call_spline>::call);
}

}  // namespace pyneural::spline
