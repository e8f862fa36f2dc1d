// The maps of a kernel's tiles.
#pragma once

#include "../common/tensor_map.h"
#include "attention_tile.cuh"

namespace pyneural::attention::cuda {

// For tiles of query_rows and key_rows. No maps where the kernel has no bulk copies, where rows are
// copied chunk by chunk, and where a tensor cannot have one.
template <class S, class Kernel>
cudaError_t make_maps(Kernel* kernel, const AttentionParams<typename S::T>& params, int query_rows,
                      int key_rows, TileMaps* maps) {
  using T = typename S::T;
  if (sizeof(T) != 2 || params.width > S::kWidth || params.value_width > S::kWidth)
    return cudaSuccess;
  bool has = false;
  if (const cudaError_t error = has_bulk_copies(kernel, &has)) return error;
  if (!has) return cudaSuccess;
  static const EncodeTiled encode = find_encode_tiled();
  if (!encode) return cudaSuccess;
  const auto make = [&](const Rows<const T>& of, int64_t columns, int64_t rows, int64_t heads,
                        int box_rows, CUtensorMap* map) {
    return make_map(encode, of.data, {columns, rows, heads, params.batch},
                    {of.row_stride, of.head_stride, of.batch_stride}, box_rows, kPanelColumns, map);
  };
  const auto of_queries = [&](const Rows<const T>& of, int64_t columns, CUtensorMap* map) {
    return make(of, columns, params.queries, params.heads, query_rows, map);
  };
  const auto of_keys = [&](const Rows<const T>& of, int64_t columns, CUtensorMap* map) {
    return make(of, columns, params.keys, params.heads / params.group, key_rows, map);
  };
  maps->are_given =
      of_queries(params.q, params.width, &maps->q) && of_keys(params.k, params.width, &maps->k) &&
      of_keys(params.v, params.value_width, &maps->v) &&
      (!params.grad_out.data || of_queries(params.grad_out, params.value_width, &maps->grad_out));
  return cudaSuccess;
}

}  // namespace pyneural::attention::cuda
