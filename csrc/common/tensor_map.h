// Maps of tensors in global memory, from which bulk_copy.cuh copies boxes.
//
// The driver makes them. Its function is found at run time: no library of the driver is linked.
// CUDA Driver API, cuTensorMapEncodeTiled.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace pyneural {

// Whether this device has compute capability 9.0 and runs code of the kernel that was compiled for
// it: PTX of an older target has no bulk copies. The driver has a context in this thread then.
template <class Kernel>
cudaError_t has_bulk_copies(Kernel* kernel, bool* has) {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  *has = error == cudaSuccess && attributes.binaryVersion == 90 && attributes.ptxVersion == 90;
  return error;
}

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

// Null where the driver has none.
inline EncodeTiled find_encode_tiled() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult status;
#if CUDART_VERSION >= 12050
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                             12000, cudaEnableDefault, &status);
#else
  const cudaError_t error =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &status);
#endif
  if (error != cudaSuccess) cudaGetLastError();  // copies by threads do without
  const bool is_found = error == cudaSuccess && status == cudaDriverEntryPointSuccess;
  return is_found ? reinterpret_cast<EncodeTiled>(found) : nullptr;
}

// A tensor of 2-byte elements in boxes of box_rows rows and box_columns, 128 bytes, which are laid
// out in shared memory as a panel of tile_layout.cuh. Sizes: of columns, rows, heads and the batch;
// strides, in elements, of the last three. False where the tensor exceeds the limits of maps. The
// driver's documentation has each stride made of the one before; of heads inside a row it is not.
inline bool make_map(EncodeTiled encode, const void* data, const int64_t (&sizes)[4],
                     const int64_t (&strides)[3], int box_rows, int box_columns, CUtensorMap* map) {
  constexpr int64_t kAlignment = 16, kMostBytes = int64_t{1} << 40;
  if (reinterpret_cast<uintptr_t>(data) % kAlignment != 0) return false;
  cuuint64_t size[4], stride_bytes[3];
  for (int d = 0; d < 4; ++d) {
    if (sizes[d] < 1 || sizes[d] > INT32_MAX) return false;  // coordinates are int
    size[d] = static_cast<cuuint64_t>(sizes[d]);
  }
  int64_t stride = 0;
  for (int d = 0; d < 3; ++d) {
    // The stride of a dimension of size 1 is never used: as if the tensor had no gaps.
    const int64_t before = d == 0 ? (sizes[0] + 7) / 8 * 8 : stride * sizes[d];
    stride = sizes[d + 1] == 1 ? before : strides[d];
    if (stride <= 0 || stride >= kMostBytes / 2 || stride * 2 % kAlignment != 0) return false;
    stride_bytes[d] = static_cast<cuuint64_t>(stride * 2);
  }
  const cuuint32_t box[4] = {static_cast<cuuint32_t>(box_columns),
                             static_cast<cuuint32_t>(box_rows), 1, 1},
                   step[4] = {1, 1, 1, 1};
  return encode(map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, const_cast<void*>(data), size, stride_bytes,
                box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace pyneural
