// Recurrent layers by torch's own functions, for devices that have no kernel of ours.
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include "torch_rnn.h"

namespace pyneural::rnn {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

Outputs forward(const Arguments& a, std::string_view cell, bool reverse) {
  return torch_rnn(check_rnn("rnn", a, cell, reverse), a);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> rnn(
    const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
    const at::Tensor& weight_ih, const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
    const OptionalTensor& bias_hh, const OptionalTensor& lengths, std::string_view cell,
    bool reverse) {
  const Outputs out =
      forward({x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, cell, reverse);
  return {out.y, out.h_n.is_same(h0) ? h0.clone() : out.h_n, out.c_n};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> rnn_with_saved(
    const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
    const at::Tensor& weight_ih, const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
    const OptionalTensor& bias_hh, const OptionalTensor& lengths, std::string_view cell,
    bool reverse) {
  const Outputs out =
      forward({x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, cell, reverse);
  const bool reduced = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
  return {out.y, out.h_n, out.c_n, reduced ? out.saved.to(at::kFloat) : out.saved};
}

std::vector<at::Tensor> rnn_backward(const at::Tensor& grad_y, const at::Tensor& grad_h_n,
                                     const OptionalTensor& grad_c_n, const at::Tensor& x,
                                     const at::Tensor& h0, const OptionalTensor& c0,
                                     const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                                     const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                                     const OptionalTensor& lengths, const at::Tensor& y,
                                     const at::Tensor& saved, std::string_view cell, bool reverse,
                                     std::array<bool, 7> output_mask) {
  const Layer layer = check_rnn_backward(
      grad_y, grad_h_n, grad_c_n, {x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, y,
      saved, cell, reverse);
  const at::AutoGradMode with_graph(true);
  const auto leaf = [](const at::Tensor& t) { return t.detach().requires_grad_(); };
  const auto optional_leaf = [&](const OptionalTensor& t) {
    return t ? OptionalTensor(leaf(*t)) : std::nullopt;
  };
  const at::Tensor x_in = leaf(x), h_in = leaf(h0), ih = leaf(weight_ih), hh = leaf(weight_hh);
  const OptionalTensor c_in = optional_leaf(c0), b_ih = optional_leaf(bias_ih),
                       b_hh = optional_leaf(bias_hh);
  const Outputs out = torch_rnn(layer, {x_in, h_in, c_in, ih, hh, b_ih, b_hh, lengths});
  const std::vector<at::Tensor> inputs{x_in,
                                       h_in,
                                       c_in.value_or(at::Tensor()),
                                       ih,
                                       hh,
                                       b_ih.value_or(at::Tensor()),
                                       b_hh.value_or(at::Tensor())};
  std::vector<at::Tensor> outputs{out.y, out.h_n}, grads{grad_y, grad_h_n}, leaves, result;
  if (layer.has_cell_state()) {
    outputs.push_back(out.c_n);
    grads.push_back(*grad_c_n);
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    if (output_mask[i] && inputs[i].defined()) leaves.push_back(inputs[i]);
  const auto found = torch::autograd::grad(outputs, leaves, grads);
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    result.push_back(output_mask[i] && inputs[i].defined() ? found[next++]
                                                           : at::empty({0}, x.options()));
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CompositeExplicitAutograd, m) {
  m.impl("rnn", rnn);
  m.impl("rnn_with_saved", rnn_with_saved);
  m.impl("rnn_backward", rnn_backward);
}

}  // namespace pyneural::rnn
