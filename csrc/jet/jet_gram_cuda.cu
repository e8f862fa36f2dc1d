// Gram matrices on CUDA: a block adds a part of the columns to a panel of 128 x 128 on or below the
// diagonal, by the product tile of the dense layer with its operand twice. Nothing else adds to
// that panel's sums, so that they have a fixed order: the same bits on every run on the same kind
// of device.
#include "../common/launch.cuh"
#include "../dense/product_tile.cuh"
#include "jet_gram_cuda.h"

namespace pyneural::jet {
namespace {

static_assert(kGramPanel == dense::kProductRows && kGramPanel == dense::kProductColumns);

constexpr int64_t kPanelSize = kGramPanel * kGramPanel;
constexpr int64_t kColumnsAtOnce = 256;  // that are summed in T before the sums in double

struct Panel {
  int64_t row, column;  // where it begins

  // Panel `index` of a triangle, row by row.
  __device__ explicit Panel(int64_t index) {
    int64_t i = 0;
    for (; index > i; ++i) index -= i + 1;
    row = i * kGramPanel;
    column = index * kGramPanel;
  }
};

// Columns of a chunk that are summed in T: of double all, since the sums are double anyway.
template <class T>
constexpr int kChunksAtOnce =
    sizeof(T) == 8 ? 0 : static_cast<int>(kColumnsAtOnce) / dense::kChunk<T>;

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_panels_kernel(const __grid_constant__ GramParams<T> params) {
  __shared__ dense::Stage stages[dense::kStages];
  const int64_t panels = gridDim.x / params.splits;
  const int64_t index = blockIdx.x % panels, split = blockIdx.x / panels;
  const Panel panel(index);
  const int64_t depth = params.product.depth, units = tiles_of(depth, kColumnsAtOnce);
  const int64_t begin = split * units / params.splits * kColumnsAtOnce;
  const int64_t next = (split + 1) * units / params.splits * kColumnsAtOnce;
  double* const sums = params.sums + blockIdx.x * kPanelSize;
  dense::product_tile<Along::k, Along::k, kChunksAtOnce<T>>(
      params.product, panel.row, panel.column, begin, next < depth ? next : depth, stages,
      [&](const auto& at, const Four<T>& four) {
        struct alignas(16) Pair {
          double values[2];
        };
        PYNEURAL_UNROLL
        for (int q = 0; q < 4; q += 2) {
          const int64_t place = (at.row(q) - panel.row) * kGramPanel + at.column(q) - panel.column;
          auto* const to = reinterpret_cast<Pair*>(sums + place);
          Pair pair = *to;
          PYNEURAL_UNROLL
          for (int s = 0; s < 2; ++s) pair.values[s] += static_cast<double>(four.values[q + s]);
          *to = pair;
        }
      });
}

constexpr int kSquare = 32;  // elements of a side of what a block stores, both ways round

template <class T>
__global__ void __launch_bounds__(kThreads)
    store_gram_kernel(const __grid_constant__ GramParams<T> params) {
  __shared__ T square[kSquare][kSquare + 1];
  constexpr int kAcross = kGramPanel / kSquare, kLines = kThreads / kSquare;
  const int64_t panels = gridDim.x / (kAcross * kAcross), index = blockIdx.x % panels;
  const int part = static_cast<int>(blockIdx.x / panels);
  const Panel panel(index);
  const int64_t size = params.rows - 1;  // M
  const int row0 = part / kAcross * kSquare, column0 = part % kAcross * kSquare;
  const int line = static_cast<int>(threadIdx.x) / kSquare;
  const int lane = static_cast<int>(threadIdx.x) % kSquare;
  if (panel.row == panel.column && row0 < column0) return;  // above the diagonal
  for (int y = line; y < kSquare; y += kLines) {
    const int64_t i = panel.row + row0 + y, j = panel.column + column0 + lane;
    const double* const from =
        params.sums + index * kPanelSize + (row0 + y) * kGramPanel + column0 + lane;
    double sum = 0;
    for (int s = 0; s < params.splits; ++s) sum += from[s * panels * kPanelSize];
    const T value = static_cast<T>(params.scale * sum);
    square[y][lane] = value;
    if (i < size && j <= i) params.gram[i * size + j] = value;
    if (i == size && j < size) params.gradient[j] = value;
    if (i == size && j == size) *params.mean = value;
  }
  __syncthreads();
  for (int y = line; y < kSquare; y += kLines) {
    const int64_t i = panel.column + column0 + y, j = panel.row + row0 + lane;
    if (j < size && i < j) params.gram[i * size + j] = square[lane][y];
  }
}

}  // namespace

template <class T>
cudaError_t GramParams<T>::configure(int64_t depth) {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  const int64_t idle = device.multiprocessors / panels();
  const int64_t parts = std::min(idle, tiles_of(depth, kColumnsAtOnce));
  splits = static_cast<int32_t>(std::max<int64_t>(parts, 1));
  return cudaSuccess;
}

template <class T>
cudaError_t GramParams<T>::launch_add(cudaStream_t stream) const {
  return pyneural::launch(add_panels_kernel<T>, splits * panels(), kThreads, 0, stream, *this);
}

template <class T>
cudaError_t GramParams<T>::launch_store(cudaStream_t stream) const {
  constexpr int64_t kParts = kPanelSize / (kSquare * kSquare);
  return pyneural::launch(store_gram_kernel<T>, kParts * panels(), kThreads, 0, stream, *this);
}

template struct GramParams<float>;
template struct GramParams<double>;

}  // namespace pyneural::jet
