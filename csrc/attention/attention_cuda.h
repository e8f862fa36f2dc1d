// The parameters of the CUDA kernels of attention: plain pointers and sizes, no torch. Letters as
// in notation.h.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "../common/accumulator.h"
#include "../common/dropout.h"
#include "../common/inline.h"
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
  bool keeps_added = false;            // whether blocks of `added` have room in shared memory
  const int64_t* seed = nullptr;       // of the dropout, on the device; null: none
  Dropout dropout;                     // without its seed
  Rows<T> out;                         // [N, H, L, Ev]
  Accumulator* lse = nullptr;  // [N, H, L]; null: not wanted. Infinite for a row without a key

  // Forward, keys in parts: the scratch of each is joined to the results.
  int64_t parts = 1;
  Accumulator* part_out = nullptr;  // [parts, N, H, L, Ev], sums of weights relative to part_max
  Accumulator* part_max = nullptr;  // [parts, N, H, L], in units of log2; -inf where no key is seen
  Accumulator* part_sum = nullptr;  // [parts, N, H, L]

  Rows<const T> grad_out;        // [N, H, L, Ev] backward
  Accumulator* delta = nullptr;  // [N, H, L] backward, scratch: sums of grad_out out
  Rows<T> grad_q;                // as q; null: not wanted
  Rows<T> grad_k, grad_v;        // as k and v; null: not wanted

  // Backward, in parts: keys of grad_q, queries of grad_k and grad_v, with scratch for either.
  int64_t key_parts = 1, query_parts = 1;
  Accumulator* part_grads = nullptr;  // [key_parts, N, H, L, E], [query_parts, N, H / G, S, E + Ev]

  // How many keys a query sees at most, by the causal limit.
  PYNEURAL_INLINE int64_t keys_seen() const { return is_causal && queries < keys ? queries : keys; }
  // The rows of all queries.
  PYNEURAL_INLINE int64_t rows() const { return batch * heads * queries; }
  // Elements of the scratch of several parts, and where it is.
  int64_t part_elements() const { return parts * rows() * (value_width + 2); }
  void set_parts(Accumulator* scratch) {
    part_out = scratch;
    part_max = part_out + parts * rows() * value_width;
    part_sum = part_max + parts * rows();
  }
  PYNEURAL_INLINE Accumulator* part_grad_v() const {
    return part_grads + query_parts * batch * (heads / group) * keys * width;
  }
  // Of the backward; 0 without parts.
  int64_t part_grad_elements() const {
    const int64_t of_q = rows() * width,
                  of_kv = batch * heads / group * keys * (width + value_width);
    const int64_t for_q = key_parts > 1 ? key_parts * of_q : 0;
    const int64_t for_kv = query_parts > 1 ? query_parts * of_kv : 0;
    return for_q > for_kv ? for_q : for_kv;
  }
};

// N, H and L are not 0; S, E and Ev may be.
//
// Before launch_attention: params->parts for the current device; then set_parts, if there are more
// than one.
template <class T>
cudaError_t choose_parts(AttentionParams<T>* params);
template <class T>
cudaError_t launch_attention(const AttentionParams<T>& params, cudaStream_t stream);
// Before it: params->key_parts and query_parts; then part_grads, if either is more than one.
template <class T>
cudaError_t choose_backward_parts(AttentionParams<T>* params);
template <class T>
cudaError_t launch_attention_backward(const AttentionParams<T>& params, cudaStream_t stream);

}  // namespace pyneural::attention::cuda
