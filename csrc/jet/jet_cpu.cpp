// The jet ops on the CPU; jet_tile.h does the work.
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include "../common/dispatch.h"
#include "jet_call.h"
#include "jet_gradient.h"
#include "jet_ops.h"

namespace pyneural::jet {
namespace {

struct Kernels {
  static void forward(const Network& network, const Arguments& a, const at::Tensor& output) {
    const Plan& plan = network.plan;
    const int64_t N = network.points, O = network.outputs();
    dispatch_floating(a.x, [&](auto type) {
      using T = decltype(type);
      Call<T> call(network, a);
      const at::Tensor points = a.x.contiguous();
      const T* const from = points.const_data_ptr<T>();
      T* const to = output.data_ptr<T>();
      call.run(0, [&](Tile<T>& tile, T*, const auto& for_tiles) {
        for_tiles([&](int64_t, int64_t first, int64_t n) {
          tile.load(from, first, n);
          tile.forward();
          for (int k = 0; k < plan.outputs; ++k)
            for (int64_t o = 0; o < O; ++o)
              for (int64_t p = 0; p < n; ++p)
                to[(k * N + first + p) * O + o] = tile.output(o, plan.output[k])[p];
        });
      });
    });
  }

  static at::Tensor backward(const Network& network, const BackwardArguments& b,
                             const at::Tensor& grad_x) {
    const Plan& plan = network.plan;
    const int64_t N = network.points, O = network.outputs();
    const bool with_parameters = b.output_mask[1];
    const int64_t parameters = with_parameters ? network.parameters : 0;
    at::Tensor grad_parameters;
    const std::vector<int64_t> offset = parameter_offsets(network);
    dispatch_floating(grad_x, [&](auto type) {
      using T = decltype(type);
      Call<T> call(network, b.forward);
      const at::Tensor points = b.forward.x.contiguous(), grads = b.grad_output.contiguous();
      const at::Tensor partial = at::zeros({call.shares.count(), parameters}, grad_x.options());
      const T* const from = points.const_data_ptr<T>();
      const T* const grad_from = grads.const_data_ptr<T>();
      T* const grad_x_to = data_or_null<T>(grad_x);
      T* const gradients = partial.data_ptr<T>();
      call.run(call.input_grad_storage(), [&](Tile<T>& tile, T* tile_grad_x,
                                              const auto& for_tiles) {
        for_tiles([&](int64_t share, int64_t first, int64_t n) {
          T* const grad = gradients + share * parameters;
          tile.load(from, first, n);
          tile.forward();
          clear_grad_output(tile);
          for (int64_t o = 0; o < O; ++o)
            for (int k = 0; k < plan.outputs; ++k)
              for (int64_t p = 0; p < n; ++p)
                tile.grad_output(o, plan.output[k])[p] += grad_from[(k * N + first + p) * O + o];
          tile.backward([&](int64_t l, const T* grad_z, const T* a) {
            if (with_parameters) add_parameter_grad(tile, l, grad_z, a, grad + offset[l]);
            if (l > 0 || !grad_x_to) return;
            tile.input_grad(grad_z, tile_grad_x);
            store_input_grad(tile, tile_grad_x, first, n, grad_x_to);
          });
        });
      });
      grad_parameters = sum_parts(partial);
    });
    return grad_parameters;
  }

  static void jacobian(const Network& network, const Arguments& arguments,
                       const at::Tensor& jacobian) {
    const Plan& plan = network.plan;
    const int64_t O = network.outputs(), P = network.parameters;
    const std::vector<int64_t> offset = parameter_offsets(network);
    const int64_t widest = *std::max_element(network.width.begin(), network.width.end());
    dispatch_floating(jacobian, [&](auto type) {
      using T = decltype(type);
      Call<T> call(network, arguments);
      const at::Tensor points = arguments.x.contiguous();
      const T* const from = points.const_data_ptr<T>();
      T* const to = jacobian.data_ptr<T>();
      call.run(plan.channels * widest, [&](Tile<T>& tile, T* column, const auto& for_tiles) {
        for_tiles([&](int64_t, int64_t first, int64_t n) {
          tile.load(from, first, n);
          tile.forward();
          for (int64_t row = 0; row < plan.outputs * O; ++row) {
            clear_grad_output(tile);
            std::fill_n(tile.grad_output(row % O, plan.output[row / O]), n, T(1));
            tile.backward([&](int64_t l, const T* grad_z, const T* a) {
              for (int64_t p = 0; p < n; ++p)
                point_parameter_grad(tile, l, grad_z, a, p, column,
                                     to + ((first + p) * plan.outputs * O + row) * P + offset[l]);
            });
          }
        });
      });
    });
  }
};

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) { Ops<Kernels>::add_to(m); }

}  // namespace pyneural::jet
