// Checks of the arguments of the recurrent ops, the same on every device, before memory is touched.
#pragma once

#include <array>
#include <string_view>

#include "../common/checks.h"
#include "../common/dispatch.h"
#include "cell.h"

namespace pyneural::rnn {

// x [steps, rows, in] and h [rows, hidden]; weights [gates * hidden, in] and [.., hidden].
struct Layer {
  int64_t steps = 0, rows = 0, in = 0, hidden = 0;
  CellKind cell = CellKind::tanh;
  bool reverse = false;

  int64_t gates() const { return cell == CellKind::lstm ? 4 : cell == CellKind::gru ? 3 : 1; }
  // Elements that a step saves for the backward, for each hidden unit.
  int64_t saved_size() const { return cell == CellKind::lstm ? 5 : cell == CellKind::gru ? 4 : 0; }
  bool has_cell_state() const { return cell == CellKind::lstm; }
};

// The arguments of a call, as the schema of `rnn` orders them.
struct Arguments {
  const at::Tensor &x, &h0;
  const OptionalTensor& c0;
  const at::Tensor &weight_ih, &weight_hh;
  const OptionalTensor &bias_ih, &bias_hh, &lengths;
  std::string_view cell;
  bool reverse;
};
// saved: [T, N, saved_size, H] from rnn_with_saved, in float32 where x is in lower precision;
// grad_c_n is None for a cell without c.
struct BackwardArguments {
  const at::Tensor &grad_y, &grad_h_n;
  const OptionalTensor& grad_c_n;
  const at::Tensor &x, &h0;
  const OptionalTensor& c0;
  const at::Tensor &weight_ih, &weight_hh;
  const OptionalTensor &bias_ih, &bias_hh, &lengths;
  const at::Tensor &y, &saved;
  std::string_view cell;
  bool reverse;
  std::array<bool, 7> output_mask;  // x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh

  Arguments forward() const {
    return {x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse};
  }
};

template <class Result>
using ForwardSignature = Result(const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                const OptionalTensor&, const OptionalTensor&, std::string_view,
                                bool);
template <class Result>
using BackwardSignature = Result(const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                 const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                 const at::Tensor&, const at::Tensor&, const OptionalTensor&,
                                 const OptionalTensor&, const OptionalTensor&, const at::Tensor&,
                                 const at::Tensor&, std::string_view, bool, std::array<bool, 7>);

namespace detail {

inline void check_like_x(const Argument& argument, const at::Tensor& tensor, at::IntArrayRef shape,
                         const at::Tensor& x) {
  check_like(argument, tensor, shape, {"x", x}, "it must fit x ", x.sizes(), " and the weights");
}

inline void check_lengths(const char* op, const at::Tensor& lengths, const Layer& layer) {
  TORCH_CHECK_VALUE(lengths.scalar_type() == at::kLong && lengths.device().is_cpu(), op,
                    ": lengths: expected int64 on the CPU, got ", lengths.scalar_type(), " on ",
                    lengths.device(), "; convert them with .to('cpu', torch.int64)");
  TORCH_CHECK_VALUE(lengths.dim() == 1 && lengths.size(0) == layer.rows, op,
                    ": lengths: expected shape [N] = [", layer.rows, "], got ", lengths.sizes(),
                    "; give one for each sequence of x");
  const auto contiguous = lengths.expect_contiguous();
  const int64_t* const length = contiguous->const_data_ptr<int64_t>();
  for (int64_t n = 0; n < layer.rows; ++n)
    TORCH_CHECK_VALUE(length[n] >= 1 && length[n] <= layer.steps, op, ": lengths[", n,
                      "]: expected 1 to T = ", layer.steps, ", got ", length[n],
                      "; a length counts the steps of x that belong to the sequence");
}

inline Layer check(const char* op, const Arguments& a) {
  constexpr std::array<std::string_view, 4> kNames{"tanh", "relu", "lstm", "gru"};
  Layer layer;
  size_t kind = 0;
  while (kind < kNames.size() && kNames[kind] != a.cell) ++kind;
  TORCH_CHECK_VALUE(kind < kNames.size(), op,
                    ": cell: expected one of tanh, relu, lstm or gru, got \"", a.cell,
                    "\"; choose one of these");
  layer.cell = static_cast<CellKind>(kind);
  layer.reverse = a.reverse;
  check_dtype({op, "x"}, a.x, Precisions::with_reduced, "convert it with x.float()");
  TORCH_CHECK_VALUE(a.x.dim() == 3, op, ": x: expected shape [T, N, I], got ", a.x.sizes(),
                    "; add the missing dimensions with x.unsqueeze(1)");
  TORCH_CHECK_VALUE(a.x.size(0) > 0, op, ": x: expected at least one step, got shape ", a.x.sizes(),
                    "; leave empty sequences out");
  TORCH_CHECK_VALUE(a.weight_hh.dim() == 2 && a.weight_hh.size(1) > 0, op,
                    ": weight_hh: expected shape [", layer.gates(), " H, H] with H >= 1, got ",
                    a.weight_hh.sizes(), "; give it as torch's layer stores it");
  layer.steps = a.x.size(0);
  layer.rows = a.x.size(1);
  layer.in = a.x.size(2);
  layer.hidden = a.weight_hh.size(1);
  const int64_t gates = layer.gates() * layer.hidden;
  check_like_x({op, "weight_hh", -1, "[gates H, H]"}, a.weight_hh, {gates, layer.hidden}, a.x);
  check_like_x({op, "weight_ih", -1, "[gates H, I]"}, a.weight_ih, {gates, layer.in}, a.x);
  if (a.bias_ih) check_like_x({op, "bias_ih", -1, "[gates H]"}, *a.bias_ih, {gates}, a.x);
  if (a.bias_hh) check_like_x({op, "bias_hh", -1, "[gates H]"}, *a.bias_hh, {gates}, a.x);
  check_like_x({op, "h0", -1, "[N, H]"}, a.h0, {layer.rows, layer.hidden}, a.x);
  TORCH_CHECK_VALUE(a.c0.has_value() == layer.has_cell_state(), op, ": c0: expected ",
                    layer.has_cell_state() ? "a tensor [N, H] for an lstm" : "None for this cell",
                    ", got ", a.c0 ? "a tensor" : "None", "; only an lstm has a cell state");
  if (a.c0) check_like_x({op, "c0", -1, "[N, H]"}, *a.c0, {layer.rows, layer.hidden}, a.x);
  if (a.lengths) check_lengths(op, *a.lengths, layer);
  return layer;
}

}  // namespace detail

inline Layer check_rnn(const Arguments& a) { return detail::check("rnn", a); }

inline Layer check_rnn_backward(const BackwardArguments& b) {
  const char* const op = "rnn_backward";
  const Layer layer = detail::check(op, b.forward());
  const std::array<int64_t, 3> shape{layer.steps, layer.rows, layer.hidden};
  detail::check_like_x({op, "grad_y", -1, "[T, N, H]"}, b.grad_y, shape, b.x);
  detail::check_like_x({op, "y", -1, "[T, N, H]"}, b.y, shape, b.x);
  detail::check_like_x({op, "grad_h_n", -1, "[N, H]"}, b.grad_h_n, b.h0.sizes(), b.x);
  if (layer.has_cell_state()) {
    TORCH_CHECK_VALUE(b.grad_c_n.has_value(), op,
                      ": grad_c_n: expected a tensor [N, H] for an lstm, got None; give zeros");
    detail::check_like_x({op, "grad_c_n", -1, "[N, H]"}, *b.grad_c_n, b.h0.sizes(), b.x);
  }
  const char* const remedy = "give what rnn_with_saved returned";
  check_given({op, "saved"}, b.saved);
  const int64_t size = layer.steps * layer.rows * layer.saved_size() * layer.hidden;
  TORCH_CHECK_VALUE(b.saved.numel() == size, op, ": saved: expected ", size, " elements, got ",
                    b.saved.numel(), "; ", remedy);
  const at::ScalarType type = accumulator_dtype(b.x);
  TORCH_CHECK_VALUE(b.saved.scalar_type() == type, op, ": saved: expected ", type, ", got ",
                    b.saved.scalar_type(), "; ", remedy);
  TORCH_CHECK_VALUE(b.saved.device() == b.x.device(), op, ": saved: expected ", b.x.device(),
                    " like x, got ", b.saved.device(), "; ", remedy);
  return layer;
}

}  // namespace pyneural::rnn
