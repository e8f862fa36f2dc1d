// Asynchronous copies of tiles to shared memory in a pipeline of two stages: the tiles of one stage
// are copied while those of the other are multiplied. One barrier a step: where all threads see the
// tiles of a step, all have left the step before, and its stage is free.
//
// Where warpgroups multiply and every tensor has a map, one thread starts bulk copies of whole
// tiles; otherwise all threads copy 16 bytes at a time.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention::cuda {

template <class S>
class PipelineStages {
 public:
  // barriers: in shared memory, one for each stage.
  __device__ PipelineStages(const TileMaps& maps, CopyBarrier (&barriers)[2])
      : maps_(maps), barriers_(barriers) {
    if (!in_bulk()) return;
    if (threadIdx.x == 0)
      for (CopyBarrier& barrier : barriers) init_barrier(&barrier);
    __syncthreads();
  }

  // Runs the steps `step`, next(step, stage), ... until one is empty. copy(step, stage) starts the
  // copies of a step before body(step, stage) computes the one before; next and copy may also write
  // to what else belongs to their stage, for the body to read.
  template <class Step, class Next, class Copy, class Body>
  __device__ void run(Step step, const Next& next, const Copy& copy, const Body& body) {
    if (!step.is_empty()) copy(step, 0);
    commit(0);
    wait(0);
    for (int stage = 0; !step.is_empty(); stage ^= 1) {
      const Step following = next(step, stage ^ 1);
      if (!following.is_empty()) {
        copy(following, stage ^ 1);
        commit(stage ^ 1);
      }
      body(step, stage);
      if (!following.is_empty()) wait(stage ^ 1);
      step = following;
    }
  }

  // Starts the copy of a tile from `row` and `column` on, 0 beyond the end, as part of a stage,
  // whose previous tiles no thread reads any more.
  template <class T, int rows, int width>
  __device__ void copy_async(int stage, Tile<T, rows, width>& to, const Matrix<T>& from,
                             int64_t row, int64_t column) const {
    if (!in_bulk()) return cuda::copy_tile_async<S>(to, from, row, column);
    if (threadIdx.x != 0) return;
    PYNEURAL_UNROLL
    for (int panel = 0; panel < width; panel += kPanelColumns)
      if (column + panel < from.columns)
        copy_box(to.at(0, panel), from.map, static_cast<int>(column) + panel, static_cast<int>(row),
                 from.head, from.batch, rows * kPanelColumns * static_cast<int>(sizeof(T)),
                 barriers_ + stage);
  }

 private:
  // Ends the copies of a stage.
  __device__ void commit(int stage) const {
    if (!in_bulk())
      commit_copies();
    else if (threadIdx.x == 0)
      commit_phase(barriers_ + stage);
  }

  // Waits until all threads see the tiles of a stage, the only one in flight.
  __device__ void wait(int stage) {
    if (!in_bulk()) return wait_all_threads();
    wait_phase(barriers_ + stage, phases_ >> stage & 1);
    phases_ ^= 1u << stage;
    __syncthreads();
  }

  __device__ bool in_bulk() const { return S::kByWarpgroup && maps_.are_given; }

  const TileMaps& maps_;
  CopyBarrier* barriers_;
  unsigned phases_ = 0;  // parity of each stage, a bit
};

}  // namespace pyneural::attention::cuda
