// Recurrent layers under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "rnn_check.h"

namespace pyneural::rnn {
namespace {

constexpr size_t kInputs = 7;  // x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh

constexpr Op<"pyneural::rnn", ForwardSignature<Three>> call_rnn;
constexpr Op<"pyneural::rnn_with_saved", ForwardSignature<Four>> call_rnn_with_saved;
constexpr Op<"pyneural::rnn_backward", BackwardSignature<std::vector<at::Tensor>>>
    call_rnn_backward;

struct Rnn : torch::autograd::Function<Rnn> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& h0,
                               const OptionalTensor& c0, const at::Tensor& weight_ih,
                               const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
                               const OptionalTensor& bias_hh, const OptionalTensor& lengths,
                               std::string_view cell, bool reverse) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, h_n, c_n, saved] = call_rnn_with_saved(x, h0, c0, weight_ih, weight_hh, bias_ih,
                                                          bias_hh, lengths, cell, reverse);
    const at::Tensor none;
    // Torch saves views of the weights, but themselves where oneDNN computes all steps of an LSTM.
    const at::ScalarType type = x.scalar_type();
    const bool by_onednn =
        cell == "lstm" && !lengths && (type == at::kFloat || type == at::kBFloat16);
    const auto of = [&](const at::Tensor& t) { return by_onednn ? t : kept(t); };
    ctx->save_for_backward({of(x), h0, c0.value_or(none), of(weight_ih), of(weight_hh),
                            of(bias_ih.value_or(none)), of(bias_hh.value_or(none)),
                            lengths.value_or(none), y, saved});
    ctx->saved_data["cell"] = std::string(cell);
    ctx->saved_data["reverse"] = reverse;
    ctx->set_materialize_grads(false);
    return {y, h_n, c_n};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const std::string cell = ctx->saved_data["cell"].toStringRef();
    const bool reverse = ctx->saved_data["reverse"].toBool();
    const at::Tensor &h0 = saved[1], &y = saved[8];
    // needs_input_grad counts the tensors that are given.
    std::array<bool, kInputs> wanted{};
    size_t edge = 0;
    for (size_t i = 0; i < kInputs; ++i)
      if (saved[i].defined()) wanted[i] = ctx->needs_input_grad(edge++);
    const auto or_zeros = [](const at::Tensor& grad, const at::Tensor& like) {
      return grad.defined() ? grad : at::zeros_like(like);
    };
    OptionalTensor grad_c_n;
    if (saved[2].defined()) grad_c_n = or_zeros(grads[2], h0);
    const std::vector<at::Tensor> found = call_backward(
        call_rnn_backward, or_zeros(grads[0], y), or_zeros(grads[1], h0), grad_c_n, saved[0], h0,
        if_defined(saved[2]), saved[3], saved[4], if_defined(saved[5]), if_defined(saved[6]),
        if_defined(saved[7]), y, saved[9], cell, reverse, wanted);
    variable_list result(kInputs + 3);
    for (size_t i = 0; i < kInputs; ++i)
      if (wanted[i]) result[i] = found[i];
    return result;
  }
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_rnn", FlatOp<check_rnn, ForwardSignature<void>>::call);
  m.def("check_rnn_with_saved", FlatOp<check_rnn, ForwardSignature<void>>::call);
  m.def("check_rnn_backward", FlatOp<check_rnn_backward, BackwardSignature<void>>::call);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("rnn", AutogradOp<Rnn, call_rnn>::call); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) {
  m.impl("rnn", AutocastOp<call_rnn, at::kCPU>::call);
}
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) {
  m.impl("rnn", AutocastOp<call_rnn, at::kCUDA>::call);
}

}  // namespace pyneural::rnn
