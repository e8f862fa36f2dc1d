// A recurrent layer by torch's own functions, differentiable, on any device: for the graphs of
// second derivatives, and for devices that have no kernel of ours.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "rnn_check.h"

namespace pyneural::rnn {

struct Outputs {
  at::Tensor y, h_n, c_n, saved;  // c_n and saved are empty where the cell has none
};

// One step from x_part [N, G * H]; c is replaced, and saved is what the gradients want.
inline at::Tensor torch_step(CellKind cell, const at::Tensor& x_part, const at::Tensor& h_part,
                             const at::Tensor& h, at::Tensor* c, std::vector<at::Tensor>* saved) {
  if (cell == CellKind::tanh) return at::tanh(x_part + h_part);
  if (cell == CellKind::relu) return at::relu(x_part + h_part);
  if (cell == CellKind::lstm) {
    const std::vector<at::Tensor> z = (x_part + h_part).chunk(4, 1);
    const at::Tensor i = at::sigmoid(z[0]), f = at::sigmoid(z[1]), g = at::tanh(z[2]),
                     o = at::sigmoid(z[3]);
    *c = f * *c + i * g;
    *saved = {i, f, g, o, *c};
    return o * at::tanh(*c);
  }
  const std::vector<at::Tensor> a = x_part.chunk(3, 1), b = h_part.chunk(3, 1);
  const at::Tensor r = at::sigmoid(a[0] + b[0]), z = at::sigmoid(a[1] + b[1]);
  const at::Tensor n = at::tanh(a[2] + r * b[2]);
  *saved = {r, z, n, b[2]};
  return n + z * (h - n);
}

inline Outputs torch_rnn(const Layer& layer, const Arguments& a) {
  const auto options = a.x.options();
  at::Tensor x = a.x, active;
  if (a.lengths) {  // [T, N, 1]
    active = at::arange(layer.steps, a.lengths->options())
                 .unsqueeze(1)
                 .lt(*a.lengths)
                 .unsqueeze(2)
                 .to(a.x.device());
    x = x.masked_fill(active.logical_not(), 0);  // elements beyond the end may be NaN
  }
  const at::Tensor x_parts = at::linear(x, a.weight_ih, a.bias_ih);
  at::Tensor h = a.h0, c = a.c0 ? *a.c0 : at::Tensor();
  std::vector<at::Tensor> ys(layer.steps), saved(layer.steps), of_step;
  for (int64_t s = 0; s < layer.steps; ++s) {
    const int64_t t = layer.reverse ? layer.steps - 1 - s : s;
    at::Tensor c_new = c;
    const at::Tensor h_new = torch_step(layer.cell, x_parts[t],
                                        at::linear(h, a.weight_hh, a.bias_hh), h, &c_new, &of_step);
    ys[t] = a.lengths ? h_new * active[t] : h_new;
    h = a.lengths ? at::where(active[t], h_new, h) : h_new;
    if (c.defined()) c = a.lengths ? at::where(active[t], c_new, c) : c_new;
    if (!of_step.empty()) saved[t] = at::stack(of_step, 1);
  }
  const at::Tensor none = at::empty({0}, options);
  return {at::stack(ys), h, c.defined() ? c : none, layer.saved_size() ? at::stack(saved) : none};
}

}  // namespace pyneural::rnn
