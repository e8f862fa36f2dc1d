// What the CUDA kernels of the rnn ops take: plain pointers and sizes, no torch.
//
// Letters: T steps, N rows, H hidden units, G gates, B blocks of a cell's gates.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/accumulator.h"
#include "../common/tensor_core_types.h"
#include "cell.h"

namespace pyneural::rnn {

// How the work of a launch is divided.
//
// The rows are split among groups of thread blocks, the units among the blocks of a group, its
// ranks, which pass a barrier in every step. A step of a block is one product
//
//   sum_k weight(k, column) value(k, row)
//
// of its part of the recurrent weights with what the group exchanges: in the forward the state, a
// column for each gate and unit of the block; in the backward the gradients of all gates, a column
// for each unit of the block. An item of it, item_columns of item_rows, is what a thread sums at a
// time; in halves, what a warp does.
struct Division {
  bool is_forward = true;
  int32_t gates = 1;  // of the cell
  int32_t groups = 1, group_size = 1;
  int32_t groups_at_once = 1;      // of a launch
  bool in_clusters = false;        // whether a group is a cluster
  bool shared_weights = false;     // whether a block's weights stay in its shared memory
  bool shared_exchange = false;    // whether what a group exchanges does, or goes to global memory
  int32_t rows = 0, units = 0;     // of a group, of a block, at most
  int32_t gate_depth = 0;          // k from a gate to the next
  int32_t depth = 0, columns = 0;  // of the product, with padding to what its items need
  int32_t item_rows = 4, item_columns = 4;
  int32_t tile_rows = 4;          // of the product that the block computes at a time
  int32_t tiles = 1;              // of the group's rows
  int32_t slices = 1;             // of the depth, each summed by items of its own
  int32_t value_stride = 4;       // elements of a tile's values for each k
  int32_t sum_stride = 0;         // from row to row of the sums
  int64_t shared_bytes = 0;       // of a block
  int64_t exchange_elements = 0;  // in global memory, of all groups of a launch
  int64_t weight_elements = 0;    // in global memory, of all ranks

  // A counter for each group whose barrier is one in global memory.
  int32_t barriers() const { return group_size > 1 && !in_clusters ? groups : 0; }
};

// T float, double, BFloat16 or Float16. Halves are summed, and the states that a block keeps for
// itself are, in float.
template <class T>
struct RnnParams {
  CellKind cell = CellKind::tanh;
  Steps steps;
  int64_t rows = 0, hidden = 0;
  Division division;

  const T* x_gates = nullptr;       // [T, N, G H] forward: the input products with bias_ih
  const T* weight_hh = nullptr;     // [G H, H]
  const T* bias_hh = nullptr;       // [G H] forward; null: none
  const T* h0 = nullptr;            // [N, H]
  const T* c0 = nullptr;            // [N, H] of cells that have it
  T* y = nullptr;                   // [T, N, H]
  Accumulator<T>* saved = nullptr;  // [T, N, kSaved, H]; null: not wanted
  T* h = nullptr;                   // [N, H] forward: ends as the last state
  T* c = nullptr;                   // [N, H] forward: begins as c0

  const T* grad_y = nullptr;  // [T, N, H] backward
  T* grad_z = nullptr;        // [T, N, B, H] backward: gradients of the gates
  T* dh = nullptr;            // [N, H] backward: begins as grad_h_n, ends as grad_h0
  T* dc = nullptr;            // [N, H] likewise

  T* exchange = nullptr;         // [exchange_elements]
  T* weights = nullptr;          // [weight_elements]
  unsigned* barriers = nullptr;  // [division.barriers()], zero
  int32_t first_group = 0;       // of the launch
  bool in_words = false;  // whether two units of halves are always at a multiple of their size

  // Fills division for the current device, and sets the kernel up for it.
  cudaError_t configure(bool backward);
  cudaError_t launch(bool backward, cudaStream_t stream) const;
};

}  // namespace pyneural::rnn
