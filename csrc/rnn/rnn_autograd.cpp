// Recurrent layers under autograd and autocast.
#include <torch/library.h>

#include "../common/autograd.h"
#include "rnn_check.h"

namespace pyneural::rnn {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

constexpr size_t kInputs = 7;  // x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                const OptionalTensor&, const OptionalTensor&, std::string_view,
                                bool);
using BackwardSignature = std::vector<at::Tensor>(
    const at::Tensor&, const at::Tensor&, const OptionalTensor&, const at::Tensor&,
    const at::Tensor&, const OptionalTensor&, const at::Tensor&, const at::Tensor&,
    const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const at::Tensor&,
    const at::Tensor&, std::string_view, bool, std::array<bool, kInputs>);

Three call_rnn(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
               const at::Tensor& weight_ih, const at::Tensor& weight_hh,
               const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
               const OptionalTensor& lengths, std::string_view cell, bool reverse) {
  static const auto op = find_op<ForwardSignature<Three>>("pyneural::rnn");
  return op.call(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse);
}

struct Rnn : torch::autograd::Function<Rnn> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& h0,
                               const OptionalTensor& c0, const at::Tensor& weight_ih,
                               const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
                               const OptionalTensor& bias_hh, const OptionalTensor& lengths,
                               std::string_view cell, bool reverse) {
    static const auto op = find_op<ForwardSignature<Four>>("pyneural::rnn_with_saved");
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, h_n, c_n, saved] =
        op.call(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse);
    const at::Tensor none;
    ctx->save_for_backward({x, h0, c0.value_or(none), weight_ih, weight_hh, bias_ih.value_or(none),
                            bias_hh.value_or(none), lengths.value_or(none), y, saved});
    ctx->saved_data["cell"] = std::string(cell);
    ctx->saved_data["reverse"] = reverse;
    ctx->set_materialize_grads(false);
    return {y, h_n, c_n};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    static const auto op = find_op<BackwardSignature>("pyneural::rnn_backward");
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
        op, or_zeros(grads[0], y), or_zeros(grads[1], h0), grad_c_n, saved[0], h0,
        if_defined(saved[2]), saved[3], saved[4], if_defined(saved[5]), if_defined(saved[6]),
        if_defined(saved[7]), y, saved[9], cell, reverse, wanted);
    variable_list result(kInputs + 3);
    for (size_t i = 0; i < kInputs; ++i)
      if (wanted[i]) result[i] = found[i];
    return result;
  }
};

Three rnn_autograd(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
                   const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                   const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                   const OptionalTensor& lengths, std::string_view cell, bool reverse) {
  if (needs_graph(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)) {
    const variable_list out =
        Rnn::apply(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse);
    return {out[0], out[1], out[2]};
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return call_rnn(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse);
}

// As torch's recurrent layers: in the lower precision.
template <at::DeviceType device>
Three rnn_autocast(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
                   const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                   const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                   const OptionalTensor& lengths, std::string_view cell, bool reverse) {
  const Autocast cast(device);
  return call_rnn(cast(x), cast(h0), cast(c0), cast(weight_ih), cast(weight_hh), cast(bias_ih),
                  cast(bias_hh), lengths, cell, reverse);
}

// The checks as ops, for the kernels that are registered from Python.
void check(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
           const at::Tensor& weight_ih, const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
           const OptionalTensor& bias_hh, const OptionalTensor& lengths, std::string_view cell,
           bool reverse) {
  check_rnn({x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, cell, reverse);
}
void check_backward(const at::Tensor& grad_y, const at::Tensor& grad_h_n,
                    const OptionalTensor& grad_c_n, const at::Tensor& x, const at::Tensor& h0,
                    const OptionalTensor& c0, const at::Tensor& weight_ih,
                    const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
                    const OptionalTensor& bias_hh, const OptionalTensor& lengths,
                    const at::Tensor& y, const at::Tensor& saved, std::string_view cell,
                    bool reverse, std::array<bool, kInputs>) {
  check_rnn_backward(grad_y, grad_h_n, grad_c_n,
                     {x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, y, saved, cell,
                     reverse);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_rnn", check);
  m.def("check_rnn_with_saved", check);
  m.def("check_rnn_backward", check_backward);
}
TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("rnn", rnn_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("rnn", rnn_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) { m.impl("rnn", rnn_autocast<at::kCUDA>); }

}  // namespace pyneural::rnn
