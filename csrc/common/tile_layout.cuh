// Where the numbers of a tile of rows lie in shared memory, so that what a warp reads at once lies
// in different banks.
#pragma once

#include "activation.h"
#include "warpgroup.cuh"

namespace pyneural {

constexpr int kPanelColumns = 64;  // numbers of 2 bytes in the 128 of a swizzled row

// Element (row, column) of `rows` rows of `width` numbers is number at(row, column). Rows have a
// gap of 16 bytes, of double 32; or, where warpgroups multiply numbers of 2 bytes, these lie as the
// tensor cores read them: panels of kPanelColumns, whose rows are 128 bytes, 16 bytes number i of a
// row being where number i ^ row % 8 would be.
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
