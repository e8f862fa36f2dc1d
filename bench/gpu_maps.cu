// Whether the driver makes the maps by which attention's tiles are copied in bulk, on a GPU of
// compute capability 9.0: without them the kernels are right, but copy by threads.
//
//   nvcc -std=c++20 -arch=sm_90a --expt-relaxed-constexpr bench/gpu_maps.cu && ./a.out
#include <array>
#include <cstdio>

#include "../csrc/attention/attention_forward.cuh"
#include "../csrc/attention/attention_maps.cuh"
#include "../csrc/attention/attention_shapes.cuh"

using namespace pyneural;
using namespace pyneural::attention::cuda;

using S = ForwardShape<BFloat16, 64>;

// Of q, k and v [batch, heads, length, 64]; heads_in_rows: as [batch, length, heads, 64] in memory.
bool makes_maps(const BFloat16* memory, int64_t batch, int64_t heads, int64_t length,
                bool heads_in_rows) {
  AttentionParams<BFloat16> params;
  params.batch = batch;
  params.heads = heads;
  params.queries = params.keys = length;
  params.width = params.value_width = 64;
  const int64_t head = heads_in_rows ? 64 : length * 64, row = heads_in_rows ? heads * 64 : 64;
  params.q = params.k = params.v = {memory, heads * length * 64, head, row};
  TileMaps maps = {};
  const cudaError_t error = make_maps<S>(forward_kernel<S>, params, S::kRows, S::kColumns, &maps);
  std::printf("%lld x %lld x %lld x 64%s: %s\n", static_cast<long long>(batch),
              static_cast<long long>(heads), static_cast<long long>(length),
              heads_in_rows ? ", heads in rows" : "",
              error            ? cudaGetErrorString(error)
              : maps.are_given ? "maps"
                               : "no maps");
  return error == cudaSuccess && maps.are_given;
}

int main() {
  BFloat16* memory = nullptr;
  if (const cudaError_t error =
          cudaMalloc(&memory, int64_t{4} * 32 * 256 * 64 * sizeof(BFloat16))) {
    std::printf("%s\n", cudaGetErrorString(error));
    return 2;
  }
  bool all = true;
  for (const bool heads_in_rows : {false, true})
    for (const auto& [batch, heads, length] :
         {std::array<int64_t, 3>{4, 8, 256}, {1, 32, 256}, {4, 1, 256}, {4, 8, 1}, {1, 1, 1}})
      all &= makes_maps(memory, batch, heads, length, heads_in_rows);
  cudaFree(memory);
  return all ? 0 : 1;
}
