// Recurrent layers under autograd, in C++ for the same reason as the dense layer, and with the same
// two ways: a kernel for the first backward, torch's own functions for a graph of it.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/find_op.h"
#include "torch_rnn.h"

namespace pyneural::rnn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

constexpr size_t kInputs = 7;  // x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh

using RnnSignature = Three(const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                           const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                           const OptionalTensor&, const OptionalTensor&, std::string_view, bool);
using SavedSignature = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>(
    const at::Tensor&, const at::Tensor&, const OptionalTensor&, const at::Tensor&,
    const at::Tensor&, const OptionalTensor&, const OptionalTensor&, const OptionalTensor&,
    std::string_view, bool);
using BackwardSignature = std::vector<at::Tensor>(
    const at::Tensor&, const at::Tensor&, const OptionalTensor&, const at::Tensor&,
    const at::Tensor&, const OptionalTensor&, const at::Tensor&, const at::Tensor&,
    const OptionalTensor&, const OptionalTensor&, const OptionalTensor&, const at::Tensor&,
    const at::Tensor&, std::string_view, bool, std::array<bool, kInputs>);

OptionalTensor if_defined(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

struct Rnn : torch::autograd::Function<Rnn> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& h0,
                               const OptionalTensor& c0, const at::Tensor& weight_ih,
                               const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
                               const OptionalTensor& bias_hh, const OptionalTensor& lengths,
                               std::string_view cell, bool reverse) {
    static const auto op = find_op<SavedSignature>("pyneural::rnn_with_saved");
    at::AutoDispatchBelowADInplaceOrView below;
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
    const variable_list saved = ctx->get_saved_variables();
    const std::string cell = ctx->saved_data["cell"].toStringRef();
    const bool reverse = ctx->saved_data["reverse"].toBool();
    const at::Tensor &h0 = saved[1], &y = saved[8];
    // Gradients are counted over the tensors that there are.
    std::array<bool, kInputs> mask{};
    size_t edge = 0;
    for (size_t i = 0; i < kInputs; ++i)
      if (saved[i].defined()) mask[i] = ctx->needs_input_grad(edge++);
    const at::Tensor grad_y = grads[0].defined() ? grads[0] : at::zeros_like(y),
                     grad_h_n = grads[1].defined() ? grads[1] : at::zeros_like(h0);
    OptionalTensor grad_c_n;
    if (saved[2].defined()) grad_c_n = grads[2].defined() ? grads[2] : at::zeros_like(h0);
    variable_list result(kInputs + 3);
    if (at::GradMode::is_enabled()) {
      backward_with_graph(saved, cell, reverse, mask, {grad_y, grad_h_n, grad_c_n.value_or(h0)},
                          &result);
      return result;
    }
    static const auto op = find_op<BackwardSignature>("pyneural::rnn_backward");
    const std::vector<at::Tensor> found =
        op.call(grad_y, grad_h_n, grad_c_n, saved[0], h0, if_defined(saved[2]), saved[3], saved[4],
                if_defined(saved[5]), if_defined(saved[6]), if_defined(saved[7]), y, saved[9], cell,
                reverse, mask);
    for (size_t i = 0; i < kInputs; ++i)
      if (mask[i]) result[i] = found[i];
    return result;
  }

 private:
  static void backward_with_graph(const variable_list& saved, const std::string& cell, bool reverse,
                                  const std::array<bool, kInputs>& mask, const variable_list& grads,
                                  variable_list* result) {
    // Leaves of a graph of their own: what they were made of must not be walked through.
    variable_list inputs(saved.begin(), saved.begin() + kInputs), needed;
    for (size_t i = 0; i < kInputs; ++i)
      if (mask[i]) needed.push_back(inputs[i] = saved[i].view_as(saved[i]));
    const OptionalTensor c0 = if_defined(inputs[2]), bias_ih = if_defined(inputs[5]),
                         bias_hh = if_defined(inputs[6]), lengths = if_defined(saved[7]);
    const Arguments a{inputs[0], inputs[1], c0, inputs[3], inputs[4], bias_ih, bias_hh, lengths};
    const Outputs out = torch_rnn(check_rnn("rnn", a, cell, reverse), a);
    variable_list outputs{out.y, out.h_n}, given{grads[0], grads[1]};
    if (c0) {
      outputs.push_back(out.c_n);
      given.push_back(grads[2]);
    }
    const variable_list found = torch::autograd::grad(outputs, needed, given, std::nullopt,
                                                      /*create_graph=*/true);
    size_t next = 0;
    for (size_t i = 0; i < kInputs; ++i)
      if (mask[i]) (*result)[i] = found[next++];
  }
};

Three rnn_autograd(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
                   const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                   const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                   const OptionalTensor& lengths, std::string_view cell, bool reverse) {
  const auto needs = [](const OptionalTensor& t) { return t && t->requires_grad(); };
  const bool needs_graph =
      at::GradMode::is_enabled() &&
      (x.requires_grad() || h0.requires_grad() || needs(c0) || weight_ih.requires_grad() ||
       weight_hh.requires_grad() || needs(bias_ih) || needs(bias_hh));
  if (needs_graph) {
    const variable_list out =
        Rnn::apply(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse);
    return {out[0], out[1], out[2]};
  }
  static const auto op = find_op<RnnSignature>("pyneural::rnn");
  const at::AutoDispatchBelowADInplaceOrView below;
  return op.call(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse);
}

// As torch's recurrent layers: in the lower precision.
template <at::DeviceType device>
Three rnn_autocast(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
                   const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                   const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                   const OptionalTensor& lengths, std::string_view cell, bool reverse) {
  static const auto op = find_op<RnnSignature>("pyneural::rnn");
  const c10::impl::ExcludeDispatchKeyGuard below(
      at::autocast::get_autocast_dispatch_key_from_device_type(device));
  const at::ScalarType dtype = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const at::Tensor& t) {
    return at::autocast::cached_cast(dtype, t, device);
  };
  const auto optional_cast = [&](const OptionalTensor& t) {
    return t ? OptionalTensor(cast(*t)) : std::nullopt;
  };
  return op.call(cast(x), cast(h0), optional_cast(c0), cast(weight_ih), cast(weight_hh),
                 optional_cast(bias_ih), optional_cast(bias_hh), lengths, cell, reverse);
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, Autograd, m) { m.impl("rnn", rnn_autograd); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCPU, m) { m.impl("rnn", rnn_autocast<at::kCPU>); }
TORCH_LIBRARY_IMPL(pyneural, AutocastCUDA, m) { m.impl("rnn", rnn_autocast<at::kCUDA>); }

}  // namespace pyneural::rnn
