// The whole loop of a sampler on CUDA, in one launch: each block of threads takes tiles of rows
// through all steps.
//
// A tile's rows, the values of the network and two layers in turn stay in shared memory where they
// fit, else in global memory. Weights pass through shared memory in chunks, at each step again.
#include "../common/blocks.cuh"
#include "../common/scalar_math.h"
#include "diffusion_sampler_cuda.h"
#include "step.h"

namespace pyneural::diffusion_sampler {
namespace {

constexpr int64_t kTile = kTileM;           // rows of a tile: one product tile high
constexpr int64_t kStaticBytes = 32 << 10;  // more than the stage of a product

extern __shared__ __align__(16) unsigned char shared_memory[];

template <class T>
PYNEURAL_INLINE int64_t widest_hidden(const DiffusionSamplerParams<T>& params) {
  int64_t width = 0;
  for (int l = 1; l < params.layers; ++l)
    if (params.width[l] > width) width = params.width[l];
  return width;
}

// Columns of a tile in the slab, each of kTile elements: two layers, x, K values of the network and
// one without the condition, what the condition adds to the first layer.
template <class T>
PYNEURAL_INLINE int64_t slab_columns(const DiffusionSamplerParams<T>& params) {
  return 2 * widest_hidden(params) + params.features * (params.memory + 2) +
         (params.condition ? params.width[1] : 0);
}

// One tile of rows on its way through all steps. What belongs to it is [kTile][columns].
template <class T>
class SamplerTile {
 public:
  __device__ SamplerTile(const DiffusionSamplerParams<T>& params, ProductStage<T>& stage)
      : params_(params), stage_(stage), seed_(static_cast<uint64_t>(*params.seed)) {
    T* at = params.shared_slab ? reinterpret_cast<T*>(shared_memory)
                               : params.scratch + blockIdx.x * params.slab;
    const auto take = [&](int64_t columns) {
      T* const taken = at;
      at += columns * kTile;
      return taken;
    };
    layer_[0] = take(widest_hidden(params));
    layer_[1] = take(widest_hidden(params));
    x_ = take(params.features);
    values_ = take(params.features * params.memory);
    unconditional_ = take(params.features);
    of_condition_ = params.condition ? take(params.width[1]) : nullptr;
  }

  __device__ void run(int64_t first) {
    const int64_t D = params_.features;
    for (int64_t e = threadIdx.x; e < kTile * D; e += kThreads)
      x_[e] = params_.x[row(first + e / D) * D + e % D];
    __syncthreads();
    if (of_condition_) multiply_condition(first);
    for (int64_t i = 0; i < params_.steps; ++i) {
      evaluate(i, of_condition_, value(i));
      if (params_.guidance != T(0)) evaluate(i, nullptr, unconditional_);
      step(i, first);
      __syncthreads();
    }
    for (int64_t e = threadIdx.x; e < kTile * D; e += kThreads)
      if (first + e / D < params_.rows) params_.y[(first + e / D) * D + e % D] = x_[e];
    __syncthreads();
  }

 private:
  // Rows beyond the last are those of the last.
  __device__ int64_t row(int64_t row) const { return row < params_.rows ? row : params_.rows - 1; }
  // Where the value of the network at a step is, until step i + K.
  __device__ T* value(int64_t i) const {
    return values_ + i % params_.memory * kTile * params_.features;
  }

  // Of the columns of the condition, which are the last inputs of the first layer.
  __device__ void multiply_condition(int64_t first) {
    const int64_t C = params_.condition_columns, in = params_.width[0], out = params_.width[1];
    const T* const w = params_.parameters + params_.features;
    block_product<Along::k, Along::k, T>(
        kTile, out, C, stage_,
        [&](int64_t k, int64_t m) { return params_.condition[row(first + m) * C + k]; },
        [=](int64_t k, int64_t n) { return w[n * in + k]; },
        [&](int64_t m, int64_t n, T sum) { of_condition_[m * out + n] = sum; });
  }

  // f [kTile][D] of the network at x.
  __device__ void evaluate(int64_t i, const T* of_condition, T* f) {
    const T* below = x_;
    for (int l = 0; l < params_.layers; ++l) {
      const bool is_last = l + 1 == params_.layers;
      const int64_t in = params_.width[l], out = params_.width[l + 1];
      const int64_t depth = l == 0 ? params_.features : in;
      const T* const w = params_.parameters + params_.offset[l];
      const T* const bias = w + out * in;
      const T* const shift = l == 0 ? params_.shifts + i * out : nullptr;
      const T* const more = l == 0 ? of_condition : nullptr;
      T* const to = is_last ? f : layer_[l % 2];
      const auto kind = is_last ? ActivationKind::linear : params_.activation;
      block_product<Along::k, Along::k, T>(
          kTile, out, depth, stage_, [=](int64_t k, int64_t m) { return below[m * depth + k]; },
          [=](int64_t k, int64_t n) { return w[n * in + k]; },
          [=](int64_t m, int64_t n, T sum) {
            T z = sum + bias[n];
            if (shift) z += shift[n];
            if (more) z += more[m * out + n];
            T value[1];
            visit_activation(kind, [&](auto a) { decltype(a)::template evaluate<0>(z, value); });
            to[m * out + n] = value[0];
          });
      below = to;
    }
  }

  // A thread has the columns of a group, which share the words of a counter.
  __device__ void step(int64_t i, int64_t first) {
    const int64_t D = params_.features, K = params_.memory, groups = tiles_of(D, kGroup);
    const T *const a = params_.coefficients + i * (kBeforeMemory + K), *const c = a + 1,
                   *const b = a + kBeforeMemory;
    T* const f = value(i);
    for (int64_t e = threadIdx.x; e < kTile * groups; e += kThreads) {
      const int64_t m = e / groups, group = e % groups;
      T noise[kGroup] = {};
      if (*c != T(0)) draw(i, first + m, group, noise);
      for (int j = 0; j < kGroup && group * kGroup + j < D; ++j) {
        const int64_t at = m * D + group * kGroup + j;
        if (params_.guidance != T(0)) f[at] += params_.guidance * (f[at] - unconditional_[at]);
        T x = *a * x_[at] + *c * noise[j];
        for (int64_t k = i < K ? i : K - 1; k >= 0; --k) x += b[k] * value(i - k)[at];
        x_[at] = x;
      }
    }
  }

  __device__ void draw(int64_t i, int64_t row, int64_t group, T (&noise)[kGroup]) const {
    uint32_t words[kGroup];
    draw_words(seed_, row, i, group, words);
    PYNEURAL_UNROLL
    for (int w = 0; w < kGroup; w += 2) {
      const T radius = std::sqrt(T(-2) * std::log(uniform<T>(words[w])));
      const T angle = T(kTwoPi) * uniform<T>(words[w + 1]);
      noise[w] = radius * std::cos(angle);
      noise[w + 1] = radius * std::sin(angle);
    }
  }

  const DiffusionSamplerParams<T>& params_;
  ProductStage<T>& stage_;
  const uint64_t seed_;
  T* layer_[2];       // [kTile][widest]
  T *x_, *values_;    // [kTile][D], K of them
  T* unconditional_;  // [kTile][D]
  T* of_condition_;   // [kTile][H_1]
};

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    sampler_kernel(const __grid_constant__ DiffusionSamplerParams<T> params) {
  __shared__ ProductStage<T> stage;
  SamplerTile<T> tile(params, stage);
  for_tiles(params.rows, kTile, [&](int64_t first) { tile.run(first); });
}

}  // namespace

template <class T>
cudaError_t DiffusionSamplerParams<T>::configure() {
  DeviceLimits device;
  if (const cudaError_t error = find_device_limits(&device)) return error;
  slab = slab_columns(*this) * kTile;
  const int64_t bytes = slab * static_cast<int64_t>(sizeof(T));
  shared_slab = bytes <= device.shared_bytes - kStaticBytes;
  blocks = blocks_for(tiles_of(rows, kTile), shared_slab ? 0 : bytes, device);
  return cudaSuccess;
}

template <class T>
cudaError_t DiffusionSamplerParams<T>::launch(cudaStream_t stream) const {
  const size_t shared = shared_slab ? sizeof(T) * slab : 0;
  return pyneural::launch(sampler_kernel<T>, blocks, kThreads, shared, stream, *this);
}

template struct DiffusionSamplerParams<float>;
template struct DiffusionSamplerParams<double>;

}  // namespace pyneural::diffusion_sampler
