// Layout of a tile of rows in shared memory without bank conflicts within a warp's reads.
#pragma once

#include "activation.h"
#include "warpgroup.cuh"

namespace pyneural {

constexpr int kPanelColumns = 64;  // elements of 2 bytes in the 128 of a swizzled row

// Element (row, column) of `rows` rows of `width` elements is at index at(row, column). Rows are
// padded by 16 bytes, of double 32; or, where warpgroups multiply elements of 2 bytes, they are
// stored as the tensor cores read them: panels of kPanelColumns, whose rows are 128 bytes, with
// chunk i of 16 bytes of a row at the place of chunk i ^ row % 8.
template <class T, int rows, int width>
struct TileLayout {
  static constexpr bool kInPanels = PYNEURAL_HAS_WARPGROUPS && sizeof(T) == 2;
  static constexpr int kStride = width + (sizeof(T) == 2 ? 8 : 4);
  // The same for every target of a compilation: the host says how much a block has.
  static constexpr int kSize = rows * kStride, kAlignment = sizeof(T) == 2 ? 1024 : 16;
  static_assert(!kInPanels || (width % kPanelColumns == 0 && rows % 8 == 0));

  PYNEURAL_INLINE static int at(int row, int column) {
    if constexpr (kInPanels)
      return (column / kPanelColumns * rows + row) * kPanelColumns +
             (column / 8 % 8 ^ row % 8) * 8 + column % 8;
    else
      return row * kStride + column;
  }
};

}  // namespace pyneural
