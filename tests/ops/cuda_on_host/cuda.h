// CUDA's driver API on the host: maps of tensors, as much of them as csrc/common/tensor_map.h asks
// for. Of the documented limits, that each stride is made of the one before is not held.
#pragma once

#include <cstdint>

using cuuint32_t = uint32_t;
using cuuint64_t = uint64_t;
enum CUresult { CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_UINT16 = 1 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_128B = 3 };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_128B = 2 };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };

struct alignas(64) CUtensorMap {
  const unsigned char* data;
  cuuint64_t sizes[4], strides[4];  // strides in bytes
  cuuint32_t box[4];
};

namespace cuda_on_host {

inline bool makes_maps = true;

}

inline CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank,
                                       void* data, const cuuint64_t* sizes,
                                       const cuuint64_t* strides, const cuuint32_t* box,
                                       const cuuint32_t* steps, CUtensorMapInterleave,
                                       CUtensorMapSwizzle, CUtensorMapL2promotion,
                                       CUtensorMapFloatOOBfill) {
  bool is_valid = cuda_on_host::makes_maps && reinterpret_cast<uintptr_t>(map) % 64 == 0 &&
                  rank == 4 && reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
                  box[0] * 2 % 16 == 0 && box[0] * 2 <= 128;
  *map = {static_cast<const unsigned char*>(data), {}, {2}, {}};
  for (int d = 0; d < 4; ++d) {
    map->sizes[d] = sizes[d];
    map->box[d] = box[d];
    is_valid &= sizes[d] >= 1 && sizes[d] <= uint64_t{1} << 32;
    is_valid &= box[d] >= 1 && box[d] <= 256 && steps[d] == 1;
  }
  for (int d = 1; d < 4; ++d) {
    map->strides[d] = strides[d - 1];
    is_valid &= strides[d - 1] % 16 == 0 && strides[d - 1] < uint64_t{1} << 40;
    is_valid &= strides[d - 1] >= 1;  // of 0 the documentation says nothing
  }
  return is_valid ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
