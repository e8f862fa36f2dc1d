// The tiles of a launch whose blocks take tiles through a whole network; tile_choice.cuh chooses.
#pragma once

#include <cstdint>

namespace pyneural {

struct TileChoice {
  int columns = 0;           // of a tile: 32, 64 or 128
  int32_t blocks = 0;        // of the launch
  int64_t slab = 0;          // elements of a block's slab
  bool shared_slab = false;  // whether that is shared memory
};

}  // namespace pyneural
