// The jet ops on the CPU: checks, memory, and points split over threads; jet_tile.h does the work.
//
// Every thread owns a fixed, contiguous share of the tiles and its own gradient, and the gradients
// are added in the order of the threads: the same bits on every run with as many threads.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "../common/dispatch.h"
#include "../common/parallel.h"
#include "jet_gradient.h"
#include "jet_ops.h"
#include "residual_pass.h"

namespace pyneural::jet {
namespace {

// Tile storage of all threads together stays under this, whatever the width and depth.
constexpr int64_t kStorageBudget = int64_t{32} << 20;

// Everything that is prepared once a call and read by all threads.
template <class T>
struct Call {
  const Network& network;
  std::vector<at::Tensor> contiguous;  // owns the parameters that had to be copied
  Scratch scratch;
  Weights<T> weights;
  ActivationRows<T> activation;
  int64_t threads, tiles;
  TileShape<T> shape;

  static std::vector<at::Tensor> make_contiguous(at::TensorList weights, at::TensorList biases) {
    std::vector<at::Tensor> result;
    for (const auto& tensor : weights) result.push_back(tensor.contiguous());
    for (const auto& tensor : biases) result.push_back(tensor.contiguous());
    return result;
  }
  static std::vector<const T*> pointers(const std::vector<at::Tensor>& tensors, int64_t begin,
                                        int64_t count) {
    std::vector<const T*> result;
    for (int64_t i = begin; i < begin + count; ++i)
      result.push_back(tensors[i].const_data_ptr<T>());
    return result;
  }

  static int64_t threads_for(const Network& net) {
    const double work = static_cast<double>(net.points) * static_cast<double>(net.parameters) *
                        static_cast<double>(net.plan.channels);
    return std::min((net.points + lanes<T>() - 1) / lanes<T>(), useful_threads(work));
  }

  Call(const Network& net, const Arguments& a)
      : network(net),
        contiguous(make_contiguous(a.weights, a.biases)),
        weights(net, pointers(contiguous, 0, net.layers()),
                pointers(contiguous, net.layers(), net.layers()),
                scratch.take<T>(Weights<T>::storage(net))),
        activation(activation_rows<T>(net.activation, net.plan)),
        threads(threads_for(net)),
        shape(net, threads, kStorageBudget / threads) {
    tiles = (net.points + shape.points - 1) / shape.points;
    threads = std::min(threads, tiles);
  }

  // Elements that Tile::input_grad fills.
  int64_t input_grad_storage() const {
    return network.inputs() * (network.has_jet_x ? shape.stride : shape.points);
  }

  // Runs body(thread, tile, scratch) on every thread; `extra` elements of scratch a thread.
  template <class Body>
  void run(int64_t extra, const Body& body) {
    const int64_t tile_size = shape.storage(network);
    const int64_t size = round_up(tile_size + extra, kCacheLine / sizeof(T));
    T* const base = scratch.take<T>(threads * size);
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t thread = begin; thread < end; ++thread) {
        T* const mine = base + thread * size;
        Tile<T> tile(network, weights, activation, shape, mine);
        body(thread, tile, mine + tile_size);
      }
    });
  }

  // Calls body(first point, number of points) for the thread's tiles in order.
  template <class Body>
  void for_tiles(int64_t thread, const Body& body) const {
    for (int64_t i = thread * tiles / threads; i < (thread + 1) * tiles / threads; ++i) {
      const int64_t first = i * shape.points;
      body(first, std::min(shape.points, network.points - first));
    }
  }
};

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
      call.run(0, [&](int64_t thread, Tile<T>& tile, T*) {
        call.for_tiles(thread, [&](int64_t first, int64_t n) {
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
      const at::Tensor partial = at::zeros({call.threads, parameters}, grad_x.options());
      const T* const from = points.const_data_ptr<T>();
      const T* const grad_from = grads.const_data_ptr<T>();
      T* const grad_x_to = data_or_null<T>(grad_x);
      call.run(call.input_grad_storage(), [&](int64_t thread, Tile<T>& tile, T* tile_grad_x) {
        T* const grad = partial.data_ptr<T>() + thread * parameters;
        call.for_tiles(thread, [&](int64_t first, int64_t n) {
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
      call.run(plan.channels * widest, [&](int64_t thread, Tile<T>& tile, T* column) {
        call.for_tiles(thread, [&](int64_t first, int64_t n) {
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

Five jet_mlp_loss(const LossArguments& a) {
  const LossCall checked = check_jet_mlp_loss(a);
  const Network& network = checked.network;
  const ResidualProgram& program = checked.program;
  const int64_t N = network.points;
  const at::Tensor& x = a.network.x;
  const bool with_x = a.output_mask[0], with_parameters = a.output_mask[1];
  const bool with_columns = a.output_mask[2] && a.columns;
  const bool with_gradient = with_x || with_parameters || with_columns;
  const int64_t P = with_parameters ? network.parameters : 0;
  const int64_t Q = with_parameters ? a.coefficients.size(0) : 0;
  const std::vector<int64_t> offset = parameter_offsets(network);
  const at::Tensor loss = at::empty({}, x.options()), grad_x = empty_if(with_x, x.sizes(), x);
  const at::Tensor grad_columns =
      with_columns ? at::zeros(a.columns->sizes(), x.options()) : empty_if(false, {}, x);
  at::Tensor gradient;
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    Call<T> call(network, a.network);
    const at::Tensor points = x.contiguous(), factors = a.coefficients.contiguous();
    const at::Tensor columns = a.columns ? a.columns->contiguous() : at::Tensor();
    const at::Tensor partial = at::zeros({call.threads, P + Q}, x.options());
    std::vector<double> sums(call.threads);
    const T* const from = points.const_data_ptr<T>();
    T* const grad_x_to = data_or_null<T>(grad_x);
    const int64_t of_program = ResidualPass<T>::storage(program, call.shape.points);
    const int64_t extra = of_program + (with_x ? call.input_grad_storage() : 0);
    call.run(extra, [&](int64_t thread, Tile<T>& tile, T* scratch) {
      T* const grad = partial.data_ptr<T>() + thread * (P + Q);
      T* const tile_grad_x = scratch + of_program;
      ResidualPass<T> pass(program, factors.const_data_ptr<T>(), data_or_null<const T>(columns),
                           tile, scratch);
      const ResidualGrads<T> grads{with_parameters ? grad + P : nullptr,
                                   data_or_null<T>(grad_columns)};
      double sum = 0;
      call.for_tiles(thread, [&](int64_t first, int64_t n) {
        tile.load(from, first, n);
        tile.forward();
        sum += pass.evaluate(first, n, T(1) / static_cast<T>(N), with_gradient, grads);
        if (!with_x && !with_parameters) return;
        tile.backward([&](int64_t l, const T* grad_z, const T* inputs) {
          if (with_parameters) add_parameter_grad(tile, l, grad_z, inputs, grad + offset[l]);
          if (l > 0 || !with_x) return;
          tile.input_grad(grad_z, tile_grad_x);
          pass.add_input_grad(tile_grad_x);
          store_input_grad(tile, tile_grad_x, first, n, grad_x_to);
        });
      });
      sums[thread] = sum;
    });
    double sum = 0;
    for (const double part : sums) sum += part;
    loss.fill_(sum / static_cast<double>(N));
    gradient = sum_parts(partial);
  });
  return {loss, grad_x, gradient.narrow(0, 0, P), gradient.narrow(0, P, Q).clone(), grad_columns};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  Ops<Kernels>::add_to(m);
  m.impl("jet_mlp_loss", FlatOp<jet_mlp_loss, LossSignature<Five>>::call);
}

}  // namespace pyneural::jet
