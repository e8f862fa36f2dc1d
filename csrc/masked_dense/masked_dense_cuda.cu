// The sparsely connected layer on CUDA: products of dense tiles whose weights are looked up as a
// tile is staged, so that no matrix of them exists.
//
// A word says which of 32 inputs are an output's edges and where these begin, so that an edge is
// found by counting bits. Absent weights are zeros in a tile's products; a sum that is NaN, since
// one of them met an infinity, is computed again from the edges alone.
#include "../common/activate.cuh"
#include "../common/blocks.cuh"
#include "../common/matmul.cuh"
#include "../common/scalar_math.h"
#include "masked_dense_cuda.h"

namespace pyneural::masked_dense {
namespace {

constexpr int64_t kShortestSplit = 128, kLongestSplit = 1 << 20;  // rows

// A thread makes a word.
template <class T>
__global__ void __launch_bounds__(kThreads)
    words_kernel(const __grid_constant__ MaskedDenseParams<T> params) {
  const int64_t of_output = tiles_of(params.in, kWordInputs);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= params.out * of_output) return;
  const int64_t output = i / of_output, first_input = i % of_output * kWordInputs;
  const int64_t begin = params.starts[output], end = params.starts[output + 1];
  bool is_good = 0 <= begin && begin <= end && end <= params.edges;
  int64_t edge = begin;  // the first one of the word, if there is one
  for (int64_t last = is_good ? end : begin; edge < last;) {
    const int64_t middle = edge + (last - edge) / 2;
    if (params.inputs[middle] < first_input)
      edge = middle + 1;
    else
      last = middle;
  }
  const int64_t after = first_input + kWordInputs;
  const bool is_last = after >= params.in;
  if (first_input == 0) is_good &= edge == begin;
  if (i == 0) is_good &= begin == 0 && params.starts[params.out] == params.edges;
  EdgeWord word{edge, 0};
  for (; is_good && edge < end && (is_last || params.inputs[edge] < after); ++edge) {
    const int64_t bit = params.inputs[edge] - first_input;
    is_good = 0 <= bit && first_input + bit < params.in && word.is_edge >> bit == 0;
    if (is_good) word.is_edge |= 1u << bit;
  }
  if (!is_good) __trap();
  params.words[i] = word;
}

// Of an output and an input, -1 where there is no edge.
template <class T>
__device__ int64_t find_edge(const MaskedDenseParams<T>& params, int64_t output, int64_t input) {
  const auto which = static_cast<uint64_t>(input);
  const auto bit = static_cast<unsigned>(which % kWordInputs);
  const EdgeWord word =
      params.words[output * tiles_of(params.in, kWordInputs) + which / kWordInputs];
  if (!(word.is_edge >> bit & 1)) return -1;
  return word.first_edge + __popc(word.is_edge & ((1u << bit) - 1));
}

template <class T>
__device__ T weight(const MaskedDenseParams<T>& params, int64_t output, int64_t input) {
  const int64_t edge = find_edge(params, output, input);
  return edge < 0 ? T(0) : params.values[edge];
}

// An element of W x, and of W^T grad_z, from the edges alone. Rarely called.
template <class T>
[[gnu::noinline]] __device__ T sum_of_output(const MaskedDenseParams<T>& params, int64_t row,
                                             int64_t output) {
  T sum = T(0);
  for (int64_t e = params.starts[output]; e < params.starts[output + 1]; ++e)
    sum += params.values[e] * params.x[row * params.in + params.inputs[e]];
  return sum;
}
template <class T>
[[gnu::noinline]] __device__ T sum_of_input(const MaskedDenseParams<T>& params, int64_t row,
                                            int64_t input) {
  T sum = T(0);
  for (int64_t output = 0; output < params.out; ++output) {
    const int64_t edge = find_edge(params, output, input);
    if (edge >= 0) sum += params.values[edge] * params.grad_z[row * params.out + output];
  }
  return sum;
}

// A block's tile of a matrix [rows, columns].
struct Tile {
  int64_t row, column, rows, columns;

  __device__ Tile(int64_t which, int64_t all_rows, int64_t all_columns) {
    const int64_t across = tiles_of(all_columns, kTileN);
    row = which / across * kTileM;
    column = which % across * kTileN;
    rows = all_rows - row < kTileM ? all_rows - row : kTileM;
    columns = all_columns - column < kTileN ? all_columns - column : kTileN;
  }
};
__host__ __device__ inline int64_t tiles_in(int64_t rows, int64_t columns) {
  return tiles_of(rows, kTileM) * tiles_of(columns, kTileN);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(const __grid_constant__ MaskedDenseParams<T> params) {
  __shared__ ProductStage<T> stage;
  const Tile tile(blockIdx.x, params.rows, params.out);
  block_product_in_fours<Along::k, Along::k, T>(
      tile.rows, tile.columns, params.in, stage,
      [&](int64_t k, int64_t m) { return params.x[(tile.row + m) * params.in + k]; },
      [&](int64_t k, int64_t n) { return weight(params, tile.column + n, k); },
      [&](int64_t m, int64_t n, int count, const T(&sums)[4]) {
        const int64_t row = tile.row + m, output = tile.column + n, at = row * params.out + output;
        Four<T> four = four_of(sums);
        PYNEURAL_UNROLL
        for (int j = 0; j < 4; ++j) {
          if (j >= count) break;
          if (sums[j] != sums[j]) four.values[j] = sum_of_output(params, row, output + j);
          if (params.bias) four.values[j] += params.bias[output + j];
          if (params.z) params.z[at + j] = four.values[j];
        }
        if (params.activation != ActivationKind::linear) four = activate(params.activation, four);
        PYNEURAL_UNROLL
        for (int j = 0; j < 4; ++j)
          if (j < count) params.y[at + j] = four.values[j];
      });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    grad_x_kernel(const __grid_constant__ MaskedDenseParams<T> params) {
  __shared__ ProductStage<T> stage;
  const Tile tile(blockIdx.x, params.rows, params.in);
  block_product<Along::k, Along::row, T>(
      tile.rows, tile.columns, params.out, stage,
      [&](int64_t k, int64_t m) { return params.grad_z[(tile.row + m) * params.out + k]; },
      [&](int64_t k, int64_t n) { return weight(params, k, tile.column + n); },
      [&](int64_t m, int64_t n, T sum) {
        const int64_t row = tile.row + m, input = tile.column + n;
        if (sum != sum) sum = sum_of_input(params, row, input);
        params.grad_x[row * params.in + input] = sum;
      });
}

// A block takes a tile of the matrix of the weights, and a part of the rows.
template <class T>
__global__ void __launch_bounds__(kThreads)
    grad_values_kernel(const __grid_constant__ MaskedDenseParams<T> params) {
  __shared__ ProductStage<T> stage;
  const int64_t tiles = tiles_in(params.out, params.in), split = blockIdx.x / tiles;
  const Tile tile(blockIdx.x % tiles, params.out, params.in);
  const int64_t begin = split * params.rows / params.splits;
  const int64_t end = (split + 1) * params.rows / params.splits;
  T* const partial = params.partial + split * params.edges;
  block_product<Along::row, Along::row, T>(
      static_cast<int>(tile.rows), static_cast<int>(tile.columns), static_cast<int>(end - begin),
      stage,
      [&](int64_t k, int64_t m) { return params.grad_z[(begin + k) * params.out + tile.row + m]; },
      [&](int64_t k, int64_t n) { return params.x[(begin + k) * params.in + tile.column + n]; },
      [&](int64_t m, int64_t n, T sum) {
        const int64_t edge = find_edge(params, tile.row + m, tile.column + n);
        if (edge >= 0) partial[edge] = sum;
      });
}

template <class T>
cudaError_t launch_words(const MaskedDenseParams<T>& params, cudaStream_t stream) {
  const int64_t words = params.out * params.words_of_output();
  if (words == 0) return cudaSuccess;
  return launch(words_kernel<T>, tiles_of(words, kThreads), kThreads, 0, stream, params);
}

}  // namespace

template <class T>
cudaError_t MaskedDenseParams<T>::configure_backward() {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  const int64_t tiles = tiles_in(out, in);
  const int64_t idle = device.multiprocessors * kBlocksPerMultiprocessor / (tiles > 0 ? tiles : 1);
  const int64_t most = rows / kShortestSplit, least = tiles_of(rows, kLongestSplit);
  int64_t parts = idle < most ? idle : most;
  if (parts < least) parts = least;
  splits = static_cast<int32_t>(parts);
  return cudaSuccess;
}

template <class T>
cudaError_t MaskedDenseParams<T>::launch_forward(cudaStream_t stream) const {
  if (const cudaError_t error = launch_words(*this, stream)) return error;
  return launch(forward_kernel<T>, tiles_in(rows, out), kThreads, 0, stream, *this);
}

template <class T>
cudaError_t MaskedDenseParams<T>::launch_backward(cudaStream_t stream) const {
  if (const cudaError_t error = launch_words(*this, stream)) return error;
  if (grad_x)
    if (const cudaError_t error =
            launch(grad_x_kernel<T>, tiles_in(rows, in), kThreads, 0, stream, *this))
      return error;
  if (edges == 0) return cudaSuccess;
  if (const cudaError_t error =
          launch(grad_values_kernel<T>, tiles_in(out, in) * splits, kThreads, 0, stream, *this))
    return error;
  return launch_add_parts<T>(partial, splits, edges, grad_values, stream);
}

template struct MaskedDenseParams<float>;
template struct MaskedDenseParams<double>;

}  // namespace pyneural::masked_dense
