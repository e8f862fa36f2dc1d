// What the CUDA kernels of the rnn ops take: plain pointers and sizes, no torch.
//
// Letters: T steps, N rows, H hidden units, G gates, B blocks of a cell's gates.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cell.h"

namespace pyneural::rnn {

template <class T>
struct RnnParams {
  CellKind cell = CellKind::tanh;
  Steps steps;
  int64_t rows = 0, hidden = 0;
  // Of the launch: the rows are split among groups of thread blocks, the units among the blocks of
  // a group, its ranks, which pass a barrier after every step. A group is a cluster, or else all
  // blocks run at the same time.
  int32_t groups = 1, group_size = 1;
  bool in_clusters = false;
  bool shared_weights = false;  // whether a block's weights stay in its shared memory

  const T* x_gates = nullptr;    // [T, N, G H] forward: the input products with bias_ih
  const T* weight_hh = nullptr;  // [G H, H]
  const T* bias_hh = nullptr;    // [G H] forward; null: none
  const T* h0 = nullptr;         // [N, H]
  const T* c0 = nullptr;         // [N, H] of cells that have it
  T* y = nullptr;                // [T, N, H]
  T* saved = nullptr;            // [T, N, kSaved, H]; null: not wanted
  T* h[2] = {nullptr, nullptr};  // [N, H] forward: the state, alternating; h[0] begins as h0
  T* c = nullptr;                // [N, H] forward: begins as c0

  const T* grad_y = nullptr;  // [T, N, H] backward
  T* grad_z = nullptr;        // [T, N, B, H] backward: gradients of the gates
  T* dh = nullptr;            // [N, H] backward: begins as grad_h_n, ends as grad_h0
  T* dc = nullptr;            // [N, H] likewise

  unsigned* barriers = nullptr;  // [groups], zero

  // Fills groups, group_size, in_clusters and shared_weights for the current device.
  cudaError_t configure(bool backward);
  cudaError_t launch(bool backward, cudaStream_t stream) const;
};

}  // namespace pyneural::rnn
