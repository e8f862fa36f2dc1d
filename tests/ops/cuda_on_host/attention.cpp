// The launches of csrc/attention/attention_{forward,backward}_*.cu behind functions that ctypes can
// call.
#include <cuda_runtime_api.h>

#include "csrc/attention/attention_backward_full.cu"
#include "csrc/attention/attention_backward_halves.cu"
#include "csrc/attention/attention_forward_full.cu"
#include "csrc/attention/attention_forward_halves.cu"
#include "guarded.h"

using namespace pyneural;
using namespace pyneural::attention::cuda;

namespace {

struct Tensor {
  void* data;
  int64_t strides[4];  // 0 where a mask is broadcast

  template <class T>
  operator Rows<T>() const {
    return {static_cast<T*>(data), strides[0], strides[1], strides[2]};
  }
};

struct Call {
  int order, shared_bytes, multiprocessors, has_maps, is_causal, mask_is_bool;
  int64_t sizes[7];  // N, H, G, L, S, E, Ev
  double scale, dropout;
  Tensor q, k, v, mask, base, seed, out, lse, grad_out, delta, grad_q, grad_k, grad_v;
};

constexpr int overrun = 3;  // not an error of CUDA
int64_t parts_of[3], barriers_of[2];

template <class T>
int run(const Call& call, bool backward) {
  using Accumulator = typename AttentionParams<T>::Accumulator;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(call.order);
  cuda_on_host::shared_bytes = call.shared_bytes;
  cuda_on_host::multiprocessors = call.multiprocessors;
  cuda_on_host::architecture = PYNEURAL_HAS_WARPGROUPS ? 90 : 80;
  cuda_on_host::makes_maps = call.has_maps;
  std::fill_n(cuda_on_host::dynamic_shared, kMaxSharedBytes, 0xff);  // NaN, read unwritten
  AttentionParams<T> params;
  const auto [batch, heads, group, queries, keys, width, value_width] = call.sizes;
  params.batch = batch;
  params.heads = heads;
  params.group = group;
  params.queries = queries;
  params.keys = keys;
  params.width = width;
  params.value_width = value_width;
  params.is_causal = call.is_causal;
  params.scale = static_cast<Accumulator>(call.scale);
  params.q = call.q;
  params.k = call.k;
  params.v = call.v;
  if (call.mask_is_bool)
    params.allowed = static_cast<const bool*>(call.mask.data);
  else
    params.added = static_cast<const Accumulator*>(call.mask.data);
  std::copy_n(call.mask.strides, 4, params.mask_strides);
  params.base = static_cast<const Accumulator*>(call.base.data);
  std::copy_n(call.base.strides, 3, params.base_strides);
  params.seed = static_cast<const int64_t*>(call.seed.data);
  if (params.seed) params.dropout = Dropout(0, call.dropout);
  params.out = call.out;
  params.lse = static_cast<Accumulator*>(call.lse.data);
  if (backward) params.grad_out = call.grad_out;
  params.delta = static_cast<Accumulator*>(call.delta.data);
  params.grad_q = call.grad_q;
  params.grad_k = call.grad_k;
  params.grad_v = call.grad_v;
  const int64_t before = cuda_on_host::barriers;
  const auto launched = [&](cudaError_t error) {
    on_host::end_bulk_copies();
    barriers_of[backward] = cuda_on_host::barriers - before;
    return error;
  };
  if (backward) {
    if (const cudaError_t error = choose_backward_parts(&params)) return error;
    parts_of[1] = params.key_parts;
    parts_of[2] = params.query_parts;
    Guarded<Accumulator> scratch(params.part_grad_elements());
    params.part_grads = scratch.data();
    if (const cudaError_t error = launched(launch_attention_backward(params, nullptr)))
      return error;
    return scratch.overrun() ? overrun : 0;
  }
  if (const cudaError_t error = choose_parts(&params)) return error;
  parts_of[0] = params.parts;
  Guarded<Accumulator> scratch(params.parts > 1 ? params.part_elements() : 0);
  params.set_parts(scratch.data());
  if (const cudaError_t error = launched(launch_attention(params, nullptr))) return error;
  return scratch.overrun() ? overrun : 0;
}

}  // namespace

// Since the library was loaded.
extern "C" int64_t bulk_copies() { return on_host::bulk_copies; }
// Of the last forward or backward, of all its blocks.
extern "C" int64_t barriers(int backward) { return barriers_of[backward]; }
// Of the last forward, of the last gradient of the queries, of that of the keys.
extern "C" int64_t parts(int of) { return parts_of[of]; }

#define EXPORT(NAME, T)                                                                         \
  extern "C" int forward_##NAME(const Call* call) { return run<T>(*call, /*backward=*/false); } \
  extern "C" int backward_##NAME(const Call* call) { return run<T>(*call, /*backward=*/true); }
EXPORT(float32, float)
EXPORT(float64, double)
EXPORT(bfloat16, BFloat16)
EXPORT(float16, Float16)
