// How tiles come to shared memory: a block has two slots of tiles, and those of one are on their
// way while those of the other are multiplied.
//
// Where warpgroups multiply and every tensor has a map, one thread copies whole tiles in bulk; else
// all threads copy 16 bytes each.
#pragma once

#include "attention_tile.cuh"

namespace pyneural::attention {

template <class S>
class Slots {
 public:
  // barriers: in shared memory, one for each slot.
  __device__ Slots(const TileMaps& maps, CopyBarrier (&barriers)[2])
      : maps_(maps), barriers_(barriers) {
    if (!in_bulk()) return;
    if (threadIdx.x == 0)
      for (CopyBarrier& barrier : barriers) begin_phases(&barrier);
    __syncthreads();
  }

  // Starts the copies of a tile from `row` and `column` on, 0 beyond the end, with those of slot
  // `which`, whose last tiles no thread reads any more.
  template <class T, int rows, int width>
  __device__ void bring(int which, Tile<T, rows, width>& to, const Matrix<T>& from, int64_t row,
                        int64_t column) const {
    if (!in_bulk()) return attention::bring<S>(to, from, row, column);
    if (threadIdx.x != 0) return;
    PYNEURAL_UNROLL
    for (int panel = 0; panel < width; panel += kPanelColumns)
      if (column + panel < from.columns)
        copy_box(to.at(0, panel), from.map, static_cast<int>(column) + panel, static_cast<int>(row),
                 from.head, from.batch, rows * kPanelColumns * static_cast<int>(sizeof(T)),
                 barriers_ + which);
  }

  // No more tiles for now; there may have been none.
  __device__ void close(int which) const {
    if (!in_bulk())
      commit_copies();
    else if (threadIdx.x == 0)
      close_phase(barriers_ + which);
  }

  // Until the tiles of a slot are there for all threads; the other slot was the last to be closed.
  __device__ void wait(int which) {
    if (!in_bulk()) return arrived<1>();
    wait_phase(barriers_ + which, phases_ >> which & 1);
    phases_ ^= 1u << which;
    __syncthreads();
  }

  // At the end, for the slot that was closed last, so that no copy outlives the block.
  __device__ void finish(int which) const {
    if (!in_bulk()) return wait_copies<0>();
    wait_phase(barriers_ + which, phases_ >> which & 1);
  }

 private:
  __device__ bool in_bulk() const { return S::kByWarpgroup && maps_.are_given; }

  const TileMaps& maps_;
  CopyBarrier* barriers_;
  unsigned phases_ = 0;  // of each slot, a bit
};

}  // namespace pyneural::attention
