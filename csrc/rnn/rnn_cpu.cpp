// Recurrent layers on the CPU: one layer, one direction, all steps in a call.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "rnn_backward.h"

namespace pyneural::rnn {
namespace {

using OptionalTensor = std::optional<at::Tensor>;
using Four = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

bool is_reduced(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}
OptionalTensor to_float(const OptionalTensor& tensor) {
  return tensor ? OptionalTensor(tensor->to(at::kFloat)) : std::nullopt;
}

double step_multiply_adds(const Layer& layer) {
  return static_cast<double>(layer.rows) * static_cast<double>(layer.gates() * layer.hidden) *
         static_cast<double>(layer.in + layer.hidden);
}
template <class T>
ThreadGroups groups_for(const Layer& layer) {
  const int64_t weights_of_unit_block = layer.gates() * panel_width<T>() * layer.hidden;
  return make_thread_groups(
      layer.rows, panel_count<T>(layer.hidden), static_cast<double>(weights_of_unit_block),
      useful_threads(step_multiply_adds(layer) * static_cast<double>(layer.steps)));
}

// body(Cell{}, T{}).
template <class Body>
void dispatch(const Layer& layer, const at::Tensor& x, const Body& body) {
  visit_cell(layer.cell, [&](auto cell) {
    x.scalar_type() == at::kFloat ? body(cell, float{}) : body(cell, double{});
  });
}

// The arguments as contiguous memory, alive as long as this is.
class Inputs {
 public:
  explicit Inputs(const Arguments& a)
      : x_(a.x.stride(2) == 1 || a.x.size(2) <= 1 ? a.x : a.x.contiguous()),
        h0_(a.h0.contiguous()),
        weight_ih_(a.weight_ih.contiguous()),
        weight_hh_(a.weight_hh.contiguous()),
        c0_(contiguous(a.c0)),
        bias_ih_(contiguous(a.bias_ih)),
        bias_hh_(contiguous(a.bias_hh)),
        lengths_(contiguous(a.lengths)) {}

  template <class T>
  Pointers<T> pointers() const {
    const auto data = [](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
    };
    return {data(x_),         data(h0_),
            data(c0_),        data(weight_ih_),
            data(weight_hh_), data(bias_ih_),
            data(bias_hh_),   x_.stride(0),
            x_.stride(1),     lengths_.defined() ? lengths_.const_data_ptr<int64_t>() : nullptr};
  }

 private:
  static at::Tensor contiguous(const OptionalTensor& tensor) {
    return tensor ? tensor->contiguous() : at::Tensor();
  }

  at::Tensor x_, h0_, weight_ih_, weight_hh_, c0_, bias_ih_, bias_hh_, lengths_;
};

Four forward(const char* op, const Arguments& a, std::string_view cell, bool reverse,
             bool with_saved) {
  const Layer layer = check_rnn(op, a, cell, reverse);
  if (is_reduced(a.x)) {
    const at::Tensor x = a.x.to(at::kFloat), h0 = a.h0.to(at::kFloat),
                     weight_ih = a.weight_ih.to(at::kFloat), weight_hh = a.weight_hh.to(at::kFloat);
    const OptionalTensor c0 = to_float(a.c0), bias_ih = to_float(a.bias_ih),
                         bias_hh = to_float(a.bias_hh);
    const auto [y, h_n, c_n, saved] =
        forward(op, {x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, a.lengths}, cell, reverse,
                with_saved);
    const auto dtype = a.x.scalar_type();
    return {y.to(dtype), h_n.to(dtype), c_n.to(dtype), saved};
  }
  const bool has_c = layer.has_cell_state(), saves = with_saved && layer.saved_size() > 0;
  const auto empty = [&](bool is_wanted, at::IntArrayRef shape) {
    return at::empty(is_wanted ? shape : at::IntArrayRef{0}, a.x.options());
  };
  at::Tensor y = empty(true, {layer.steps, layer.rows, layer.hidden}),
             h_n = empty(true, a.h0.sizes()), c_n = empty(has_c, a.h0.sizes()),
             saved = empty(saves, {layer.steps, layer.rows, layer.saved_size(), layer.hidden});
  if (layer.rows == 0) return {y, h_n, c_n, saved};
  const Inputs inputs(a);
  dispatch(layer, a.x, [&](auto kind, auto type) {
    using T = decltype(type);
    const Pointers<T> pointers = inputs.pointers<T>();
    const ThreadGroups groups = groups_for<T>(layer);
    Forward<decltype(kind), T>(layer, pointers, groups, y.data_ptr<T>(), h_n.data_ptr<T>(),
                               has_c ? c_n.data_ptr<T>() : nullptr,
                               saves ? saved.data_ptr<T>() : nullptr)
        .run();
  });
  return {y, h_n, c_n, saved};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> rnn(
    const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
    const at::Tensor& weight_ih, const at::Tensor& weight_hh, const OptionalTensor& bias_ih,
    const OptionalTensor& bias_hh, const OptionalTensor& lengths, std::string_view cell,
    bool reverse) {
  const auto [y, h_n, c_n, saved] = forward(
      "rnn", {x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, cell, reverse, false);
  return {y, h_n, c_n};
}

Four rnn_with_saved(const at::Tensor& x, const at::Tensor& h0, const OptionalTensor& c0,
                    const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                    const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                    const OptionalTensor& lengths, std::string_view cell, bool reverse) {
  return forward("rnn", {x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths}, cell, reverse,
                 true);
}

// [groups, ...] summed over the groups, in their order.
at::Tensor add_groups(const at::Tensor& parts) {
  at::Tensor total = parts[0];
  for (int64_t i = 1; i < parts.size(0); ++i) total.add_(parts[i]);
  return parts.size(0) == 1 ? total : total.clone();
}

std::vector<at::Tensor> rnn_backward(const at::Tensor& grad_y, const at::Tensor& grad_h_n,
                                     const OptionalTensor& grad_c_n, const at::Tensor& x,
                                     const at::Tensor& h0, const OptionalTensor& c0,
                                     const at::Tensor& weight_ih, const at::Tensor& weight_hh,
                                     const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
                                     const OptionalTensor& lengths, const at::Tensor& y,
                                     const at::Tensor& saved, std::string_view cell, bool reverse,
                                     std::array<bool, 7> output_mask) {
  output_mask[2] = output_mask[2] && c0;
  const Arguments a{x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths};
  const Layer layer = check_rnn_backward(grad_y, grad_h_n, grad_c_n, a, y, saved, cell, reverse);
  if (is_reduced(x)) {
    std::vector<at::Tensor> grads =
        rnn_backward(grad_y.to(at::kFloat), grad_h_n.to(at::kFloat), to_float(grad_c_n),
                     x.to(at::kFloat), h0.to(at::kFloat), to_float(c0), weight_ih.to(at::kFloat),
                     weight_hh.to(at::kFloat), to_float(bias_ih), to_float(bias_hh), lengths,
                     y.to(at::kFloat), saved, cell, reverse, output_mask);
    for (at::Tensor& grad : grads) grad = grad.to(x.scalar_type());
    return grads;
  }
  const int64_t gates = layer.gates() * layer.hidden;
  const auto wanted = [&](int i, at::IntArrayRef shape) {
    return at::empty(output_mask[i] ? shape : at::IntArrayRef{0}, x.options());
  };
  at::Tensor grad_x = wanted(0, x.sizes()), grad_h0 = wanted(1, h0.sizes()),
             grad_c0 = wanted(2, h0.sizes());
  std::vector<at::Tensor> weights;
  if (layer.rows == 0) {
    for (const at::IntArrayRef shape : {weight_ih.sizes(), weight_hh.sizes()})
      weights.push_back(at::zeros(shape, x.options()));
    for (int i = 0; i < 2; ++i) weights.push_back(at::zeros({gates}, x.options()));
    return {grad_x, grad_h0, grad_c0, weights[0], weights[1], weights[2], weights[3]};
  }
  const Inputs inputs(a);
  const at::Tensor grad = grad_y.contiguous(), grad_h = grad_h_n.contiguous(),
                   grad_c = grad_c_n ? grad_c_n->contiguous() : at::Tensor(),
                   y_rows = y.contiguous(), saved_rows = saved.contiguous();
  dispatch(layer, x, [&](auto kind, auto type) {
    using T = decltype(type);
    const auto read = [](const at::Tensor& t) {
      return t.defined() ? t.const_data_ptr<T>() : nullptr;
    };
    const auto write = [&](int i, at::Tensor& t) {
      return output_mask[i] ? t.data_ptr<T>() : nullptr;
    };
    const Pointers<T> pointers = inputs.pointers<T>();
    const ThreadGroups groups = groups_for<T>(layer);
    const auto parts = [&](int i, int64_t columns) {
      return at::zeros({output_mask[i] ? groups.count : 1, output_mask[i] ? gates : 0, columns},
                       x.options());
    };
    weights = {parts(3, layer.in), parts(4, layer.hidden), parts(5, 1), parts(6, 1)};
    const Gradients<T> gradients{read(grad),           read(grad_h),         read(grad_c),
                                 read(y_rows),         read(saved_rows),     write(0, grad_x),
                                 write(1, grad_h0),    write(2, grad_c0),    write(3, weights[0]),
                                 write(4, weights[1]), write(5, weights[2]), write(6, weights[3])};
    Backward<decltype(kind), T>(layer, pointers, groups, gradients).run();
  });
  for (at::Tensor& weight : weights) weight = add_groups(weight);
  return {
      grad_x, grad_h0, grad_c0, weights[0], weights[1], weights[2].flatten(), weights[3].flatten()};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("rnn", rnn);
  m.impl("rnn_with_saved", rnn_with_saved);
  m.impl("rnn_backward", rnn_backward);
}

}  // namespace pyneural::rnn
