// Recurrent layers on the CPU: one layer, one direction, all steps in a call.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "../common/results.h"
#include "rnn_backward.h"
#include "rnn_ops.h"

namespace pyneural::rnn {
namespace {

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

// Also x, whose rows may be strided, and the lengths; owns the memory of its pointers.
struct HostInputs : Inputs {
  at::Tensor x, lengths;

  explicit HostInputs(const Arguments& a)
      : Inputs(a, accumulator_dtype(a.x)), x(in_dtype(dtype, a.x)) {
    if (x.stride(2) != 1 && x.size(2) > 1) x = x.contiguous();
    if (a.lengths) lengths = a.lengths->contiguous();
  }

  template <class T>
  Pointers<T> pointers() const {
    return {read<T>(x),         read<T>(h0),           read<T>(c0),      read<T>(weight_ih),
            read<T>(weight_hh), read<T>(bias_ih),      read<T>(bias_hh), x.stride(0),
            x.stride(1),        read<int64_t>(lengths)};
  }
};

struct Kernels {
  static Four forward(const Layer& layer, const Arguments& a, bool with_saved) {
    const bool has_c = layer.has_cell_state(), saves = with_saved && layer.saved_size() > 0;
    const auto options = a.x.options().dtype(accumulator_dtype(a.x));
    const auto empty = [&](bool is_wanted, at::IntArrayRef shape) {
      return at::empty(is_wanted ? shape : at::IntArrayRef{0}, options);
    };
    at::Tensor y = empty(true, {layer.steps, layer.rows, layer.hidden}),
               h_n = empty(true, a.h0.sizes()), c_n = empty(has_c, a.h0.sizes()),
               saved = empty(saves, {layer.steps, layer.rows, layer.saved_size(), layer.hidden});
    if (layer.rows > 0) {
      const HostInputs inputs(a);
      dispatch_floating(a.x, [&](auto type) {
        using T = decltype(type);
        const Pointers<T> pointers = inputs.pointers<T>();
        const ThreadGroups groups = groups_for<T>(layer);
        Forward<T>(layer, pointers, groups, y.data_ptr<T>(), h_n.data_ptr<T>(),
                   has_c ? c_n.data_ptr<T>() : nullptr, saves ? saved.data_ptr<T>() : nullptr)
            .run();
      });
    }
    const at::ScalarType dtype = a.x.scalar_type();
    return {in_dtype(dtype, y), in_dtype(dtype, h_n), in_dtype(dtype, c_n), saved};
  }

  static std::vector<at::Tensor> backward(const Layer& layer, const BackwardArguments& b,
                                          const std::array<bool, 7>& wanted) {
    const auto options = b.x.options().dtype(accumulator_dtype(b.x));
    const int64_t gates = layer.gates() * layer.hidden;
    const auto empty = [&](int i, at::IntArrayRef shape) {
      return at::empty(wanted[i] ? shape : at::IntArrayRef{0}, options);
    };
    std::vector<at::Tensor> grads{empty(0, b.x.sizes()), empty(1, b.h0.sizes()),
                                  empty(2, b.h0.sizes())};
    // Weights and biases: the gradients of each thread group.
    const auto add_parts = [&](int64_t groups) {
      const int64_t columns[] = {layer.in, layer.hidden, 1, 1};
      for (int i = 3; i < 7; ++i)
        grads.push_back(at::zeros({groups, wanted[i] ? gates : 0, columns[i - 3]}, options));
    };
    if (layer.rows == 0) {
      add_parts(1);
    } else {
      const HostInputs inputs(b.forward());
      const at::Tensor grad_y = inputs.ready(b.grad_y), grad_h_n = inputs.ready(b.grad_h_n),
                       grad_c_n = inputs.ready(b.grad_c_n), y = inputs.ready(b.y),
                       saved = b.saved.contiguous();
      dispatch_floating(b.x, [&](auto type) {
        using T = decltype(type);
        const auto write = [&](int i) { return wanted[i] ? grads[i].data_ptr<T>() : nullptr; };
        const Pointers<T> pointers = inputs.pointers<T>();
        const ThreadGroups groups = groups_for<T>(layer);
        add_parts(groups.count);
        const Gradients<T> gradients{read<T>(grad_y), read<T>(grad_h_n), read<T>(grad_c_n),
                                     read<T>(y),      read<T>(saved),    write(0),
                                     write(1),        write(2),          write(3),
                                     write(4),        write(5),          write(6)};
        Backward<T>(layer, pointers, groups, gradients).run();
      });
    }
    for (int i = 3; i < 7; ++i) grads[i] = wanted[i] ? sum_parts(grads[i]) : empty(i, {});
    for (int i = 5; i < 7; ++i) grads[i] = grads[i].flatten();
    for (at::Tensor& grad : grads) grad = in_dtype(b.x.scalar_type(), grad);
    return grads;
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::rnn
