// Derivatives of residuals along a path of parameters, on the CPU: memory, and points split over
// threads; jet_path_tile.h does the work.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/parallel.h"
#include "../common/results.h"
#include "jet_path_tile.h"

namespace pyneural::jet {
namespace {

template <class T>
void evaluate_path(const ResidualCall& call, const PathArguments& a, T* result) {
  const ResidualArguments& r = a.residual;
  const Network& network = call.network;
  std::vector<at::Tensor> contiguous;
  for (int64_t l = 0; l < network.layers(); ++l) {
    contiguous.push_back(r.network.weights[l].contiguous());
    contiguous.push_back(r.network.biases[l].contiguous());
  }
  contiguous.push_back(r.coefficients.contiguous());
  std::vector<const T*> pointers;
  for (const at::Tensor& tensor : contiguous) pointers.push_back(tensor.const_data_ptr<T>());
  const at::Tensor x = r.network.x.contiguous(), path = a.path.contiguous();
  const at::Tensor columns = r.columns ? r.columns->contiguous() : at::Tensor();
  const T *const from = x.const_data_ptr<T>(), *const of_columns = data_or_null<const T>(columns);
  const int64_t K = a.path.size(0), Q = r.coefficients.size(0);

  Scratch scratch;
  const PathParameters<T> parameters(network, pointers, Q, path.const_data_ptr<T>(), K,
                                     scratch.take<T>(PathParameters<T>::storage(network, K, Q)));
  const PathRows<T> rows = path_rows<T>(network.activation, network.plan, K);
  const double work = static_cast<double>(network.points) *
                      static_cast<double>(network.parameters * network.plan.channels) *
                      ((K + 1) * (K + 2) / 2);
  int64_t threads = std::min(vectors_of<T>(network.points), useful_threads(work));
  const TileShape<T> shape = path_tile_shape<T>(network, K, threads);
  const int64_t tiles = (network.points + shape.points - 1) / shape.points;
  threads = std::min(threads, tiles);

  const int64_t of_tile = PathTile<T>::storage(network, K, shape);
  const int64_t size =
      odd_lines<T>(of_tile + ResidualPath<T>::storage(call.program, K, shape.points));
  T* const base = scratch.take<T>(threads * size);
  parallel_takers(tiles, threads, [&](int64_t thread, Tasks& tasks) {
    T* const mine = base + thread * size;
    PathTile<T> tile(network, K, parameters, rows, shape, mine);
    ResidualPath<T> residuals(call.program, parameters.factor, Q, of_columns, tile, mine + of_tile);
    while (const auto task = tasks.take()) {
      const int64_t first = *task * shape.points,
                    n = std::min(shape.points, network.points - first);
      tile.load(from, first, n);
      tile.forward();
      residuals.evaluate(first, n, result);
    }
  });
}

at::Tensor jet_mlp_path(const PathArguments& a) {
  const ResidualCall call = check_jet_mlp_path(a);
  const at::Tensor& x = a.residual.network.x;
  const at::Tensor result =
      at::empty({a.path.size(0), call.equations(), call.network.points}, x.options());
  if (result.numel() == 0) return result;
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    evaluate_path(call, a, result.data_ptr<T>());
  });
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("jet_mlp_path", FlatOp<jet_mlp_path, PathSignature<at::Tensor>>::call);
}

}  // namespace pyneural::jet
