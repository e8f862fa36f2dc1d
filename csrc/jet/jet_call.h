// One call of a jet op on the CPU: memory, and points split over threads; jet_tile.h does the work.
//
// Threads take shares of the tiles. Every share has its own gradient, and the gradients are added
// in the order of the shares: the same bits on every run with as many threads.
#pragma once

#include <ATen/core/Tensor.h>

#include "../common/shares.h"
#include "jet_gradient.h"

namespace pyneural::jet {

// Tile storage of all threads together stays under this, whatever the width and depth.
constexpr int64_t kStorageBudget = int64_t{32} << 20;
// Bytes of a parameter's gradient while it is summed.
constexpr int64_t kSum = sizeof(double);

// Everything that is prepared once a call and read by all threads.
template <class T>
struct Call {
  const Network& network;
  std::vector<at::Tensor> contiguous;  // owns the parameters that had to be copied
  Scratch scratch;
  Weights<T> weights;
  ActivationRows<T> activation;
  int64_t threads;
  TileShape<T> shape;
  int64_t tiles;
  Shares shares;  // of the tiles

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
        shape(net, threads, kStorageBudget / threads),
        tiles((net.points + shape.points - 1) / shape.points),
        shares(Shares::with_sums(tiles, std::min(threads, tiles), kSum * net.parameters)) {
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

  // Runs body(tile, scratch, for_tiles) on every thread; for_tiles(use) calls use(share, first
  // point, number of points) for the tiles of the shares that the thread takes. The shares are of
  // the tiles from `first_tile` on.
  template <class Body>
  void run(const Storage& storage, int64_t first_tile, const Shares& shares,
           const Body& body) const {
    parallel_takers(shares.count(), threads, [&](int64_t thread, Tasks& tasks) {
      T* const mine = storage.data + thread * storage.size;
      Tile<T> tile(network, weights, activation, shape, mine);
      body(tile, mine + storage.tile, [&](const auto& use) {
        while (const auto share = tasks.take())
          for (int64_t i = shares.begin(*share); i < shares.end(*share); ++i) {
            const int64_t first = (first_tile + i) * shape.points;
            use(*share, first, std::min(shape.points, network.points - first));
          }
      });
    });
  }
  // For all tiles, with `extra` elements of scratch a thread.
  template <class Body>
  void run(int64_t extra, const Body& body) {
    run(take_storage(extra), 0, shares, body);
  }
};

}  // namespace pyneural::jet
