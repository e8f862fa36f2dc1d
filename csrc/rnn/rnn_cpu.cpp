// Recurrent layers on the CPU: one layer, one direction, all steps in a call.
#include <ATen/ATen.h>

#include "../common/results.h"
#include "rnn_backward.h"
#include "rnn_ops.h"

namespace pyneural::rnn {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

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
  visit_cell(layer.cell,
             [&](auto cell) { dispatch_floating(x, [&](auto element) { body(cell, element); }); });
}

at::Tensor in_dtype(at::ScalarType dtype, const at::Tensor& t) {
  return t.scalar_type() == dtype ? t : t.to(dtype);
}

// The arguments in the accumulator type and contiguous; owns the memory of its pointers.
class Inputs {
 public:
  explicit Inputs(const Arguments& a)
      : dtype_(accumulator_dtype(a.x)),
        x_(in_dtype(dtype_, a.x)),
        h0_(ready(a.h0)),
        weight_ih_(ready(a.weight_ih)),
        weight_hh_(ready(a.weight_hh)),
        c0_(ready(a.c0)),
        bias_ih_(ready(a.bias_ih)),
        bias_hh_(ready(a.bias_hh)) {
    if (x_.stride(2) != 1 && x_.size(2) > 1) x_ = x_.contiguous();
    if (a.lengths) lengths_ = a.lengths->contiguous();
  }

  at::Tensor ready(const at::Tensor& t) const { return in_dtype(dtype_, t).contiguous(); }
  at::Tensor ready(const OptionalTensor& t) const { return t ? ready(*t) : at::Tensor(); }

  template <class T>
  Pointers<T> pointers() const {
    const int64_t* const lengths =
        lengths_.defined() ? lengths_.const_data_ptr<int64_t>() : nullptr;
    return {read<T>(x_),         read<T>(h0_),
            read<T>(c0_),        read<T>(weight_ih_),
            read<T>(weight_hh_), read<T>(bias_ih_),
            read<T>(bias_hh_),   x_.stride(0),
            x_.stride(1),        lengths};
  }
  template <class T>
  static const T* read(const at::Tensor& t) {
    return t.defined() ? t.const_data_ptr<T>() : nullptr;
  }

 private:
  at::ScalarType dtype_;
  at::Tensor x_, h0_, weight_ih_, weight_hh_, c0_, bias_ih_, bias_hh_, lengths_;
};

struct Kernels {
  static ForwardResult forward(const Layer& layer, const Arguments& a, bool with_saved) {
    const bool has_c = layer.has_cell_state(), saves = with_saved && layer.saved_size() > 0;
    const auto options = a.x.options().dtype(accumulator_dtype(a.x));
    const auto empty = [&](bool is_wanted, at::IntArrayRef shape) {
      return at::empty(is_wanted ? shape : at::IntArrayRef{0}, options);
    };
    at::Tensor y = empty(true, {layer.steps, layer.rows, layer.hidden}),
               h_n = empty(true, a.h0.sizes()), c_n = empty(has_c, a.h0.sizes()),
               saved = empty(saves, {layer.steps, layer.rows, layer.saved_size(), layer.hidden});
    if (layer.rows > 0) {
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
    }
    const at::ScalarType dtype = a.x.scalar_type();
    return {in_dtype(dtype, y), in_dtype(dtype, h_n), in_dtype(dtype, c_n), saved};
  }

  static std::vector<at::Tensor> backward(const Layer& layer, const Arguments& a,
                                          const BackwardArguments& b,
                                          const std::array<bool, 7>& wanted) {
    const auto options = a.x.options().dtype(accumulator_dtype(a.x));
    const int64_t gates = layer.gates() * layer.hidden;
    const auto empty = [&](int i, at::IntArrayRef shape) {
      return at::empty(wanted[i] ? shape : at::IntArrayRef{0}, options);
    };
    std::vector<at::Tensor> grads{empty(0, a.x.sizes()), empty(1, a.h0.sizes()),
                                  empty(2, a.h0.sizes())};
    // Weights and biases: the gradients of each thread group.
    const auto add_parts = [&](int64_t groups) {
      const int64_t columns[] = {layer.in, layer.hidden, 1, 1};
      for (int i = 3; i < 7; ++i)
        grads.push_back(at::zeros({groups, wanted[i] ? gates : 0, columns[i - 3]}, options));
    };
    if (layer.rows == 0) {
      add_parts(1);
    } else {
      const Inputs inputs(a);
      const at::Tensor grad_y = inputs.ready(b.grad_y), grad_h_n = inputs.ready(b.grad_h_n),
                       grad_c_n = inputs.ready(b.grad_c_n), y = inputs.ready(b.y),
                       saved = b.saved.contiguous();
      dispatch(layer, a.x, [&](auto kind, auto type) {
        using T = decltype(type);
        const auto read = [](const at::Tensor& t) { return Inputs::read<T>(t); };
        const auto write = [&](int i) { return wanted[i] ? grads[i].data_ptr<T>() : nullptr; };
        const Pointers<T> pointers = inputs.pointers<T>();
        const ThreadGroups groups = groups_for<T>(layer);
        add_parts(groups.count);
        const Gradients<T> gradients{read(grad_y), read(grad_h_n), read(grad_c_n), read(y),
                                     read(saved),  write(0),       write(1),       write(2),
                                     write(3),     write(4),       write(5),       write(6)};
        Backward<decltype(kind), T>(layer, pointers, groups, gradients).run();
      });
    }
    for (int i = 3; i < 7; ++i) grads[i] = wanted[i] ? sum_parts(grads[i]) : empty(i, {});
    for (int i = 5; i < 7; ++i) grads[i] = grads[i].flatten();
    for (at::Tensor& grad : grads) grad = in_dtype(a.x.scalar_type(), grad);
    return grads;
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::rnn
