// The parameters of the CUDA kernels of attention: plain pointers and sizes, no torch. Letters as
// in notation.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/accumulator.h"
#include "../common/dropout.h"
#include "../common/tensor_core_types.h"

namespace pyneural::attention::cuda {

// A tensor of four dimensions whose last is contiguous.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t batch_stride = 0, head_stride = 0, row_stride = 0;
};

// T: float, double, BFloat16 or Float16.
template <class T>
struct AttentionParams {
  using Accumulator = pyneural::Accumulator<T>;

  int64_t batch = 0, heads = 0, group = 1, queries = 0, keys = 0, width = 0, value_width = 0;
  bool is_causal = false;
  Accumulator scale = 1;
  Rows<const T> q;                     // [N, H, L, E]
  Rows<const T> k;                     // [N, H / G, S, E]
  Rows<const T> v;                     // [N, H / G, S, Ev]
  const bool* allowed = nullptr;       // [N, H, L, S] by the strides of the mask, null: all
  const Accumulator* added = nullptr;  // the same, to the scores; at most one of the two is given
  int64_t mask_strides[4] = {};        // 0 where the mask is broadcast
  const Accumulator* base = nullptr;   // [N, H, L], subtracted from rows of `added`, null: 0
  int64_t base_strides[3] = {};        // likewise
  const int64_t* seed = nullptr;       // of the dropout, on the device; null: none
  Dropout dropout;                     // without its seed
  Rows<T> out;                         // [N, H, L, Ev]
  Accumulator* lse = nullptr;  // [N, H, L]; null: not wanted. Infinite for a row without a key

  Rows<const T> grad_out;        // [N, H, L, Ev] backward
  Accumulator* delta = nullptr;  // [N, H, L] backward, scratch: sums of grad_out out
  Rows<T> grad_q;                // as q; null: not wanted
  Rows<T> grad_k, grad_v;        // as k and v; null: not wanted
};

// N, H and L are not 0; S, E and Ev may be.
template <class T>
cudaError_t launch_attention(const AttentionParams<T>& params, cudaStream_t stream);
template <class T>
cudaError_t launch_attention_backward(const AttentionParams<T>& params, cudaStream_t stream);

}  // namespace pyneural::attention::cuda
