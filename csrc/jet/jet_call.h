// One call of a jet op on the CPU: memory, and points split over threads; jet_tile.h does the work.
//
// Every thread owns a fixed, contiguous share of the tiles and its own gradient, and the gradients
// are added in the order of the threads: the same bits on every run with as many threads.
#pragma once

#include <ATen/core/Tensor.h>

#include "../common/parallel.h"
#include "jet_gradient.h"

namespace pyneural::jet {

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

  // Memory of all threads: a tile, and `extra` elements of scratch.
  struct Storage {
    T* data;
    int64_t tile, size;  // elements of a thread: of the tile, and together
  };
  Storage take_storage(int64_t extra) {
    const int64_t tile = shape.storage(network);
    const int64_t size = round_up(tile + extra, kCacheLine / sizeof(T));
    return {scratch.take<T>(threads * size), tile, size};
  }

  // Runs body(thread, tile, scratch) on every thread.
  template <class Body>
  void run(const Storage& storage, const Body& body) const {
    parallel_chunks(threads, threads, [&](int64_t thread, int64_t, int64_t) {
      T* const mine = storage.data + thread * storage.size;
      Tile<T> tile(network, weights, activation, shape, mine);
      body(thread, tile, mine + storage.tile);
    });
  }
  // The same with `extra` elements of scratch a thread.
  template <class Body>
  void run(int64_t extra, const Body& body) {
    run(take_storage(extra), body);
  }

  // Calls body(first point, number of points) for the thread's tiles in order, of those from
  // first_tile to last_tile.
  template <class Body>
  void for_tiles(int64_t thread, int64_t first_tile, int64_t last_tile, const Body& body) const {
    const int64_t count = last_tile - first_tile;
    for (int64_t i = thread * count / threads; i < (thread + 1) * count / threads; ++i) {
      const int64_t first = (first_tile + i) * shape.points;
      body(first, std::min(shape.points, network.points - first));
    }
  }
  template <class Body>
  void for_tiles(int64_t thread, const Body& body) const {
    for_tiles(thread, 0, tiles, body);
  }
};

}  // namespace pyneural::jet
