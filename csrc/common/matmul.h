// The two register-blocked products that every op's inner loops are made of.
//
//   multiply:        c[r][n]  = sum_k a[r][k] b[k][n]     vectors run along n, a is packed
//   accumulate_dots: g[r][s] += sum_n x[r][n] y[s][n]     vectors run along n, sums across lanes
//
// Rows of b, c, x and y are whole vectors long and aligned to them (padded by the caller), so no
// size has to be a multiple of the vector length. With these two, a layer's forward, its input
// gradient (multiply by the transpose) and its weight gradient need no transposed activations.
#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace pyneural {

template <class T>
using Vec = at::vec::Vectorized<T>;

template <class T>
constexpr int64_t lanes() {
  return Vec<T>::size();
}

template <class T>
T lane_sum(Vec<T> v) {
  return at::vec::vec_reduce_all<T>([](Vec<T> a, Vec<T> b) { return a + b; }, v);
}

// The register tile: kTileRows x kTileVectors accumulators, kTileVectors loads and one broadcast
// must fit into the 32 vector registers of AVX-512 and Neon, or the 16 of AVX2.
#if defined(CPU_CAPABILITY_AVX512) || defined(__aarch64__)
constexpr int kTileRows = 6, kTileVectors = 4;
#elif defined(CPU_CAPABILITY_AVX2)
constexpr int kTileRows = 6, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 1;
#endif
constexpr int kDotRows =
    kTileRows >= 6 && kTileVectors >= 4 ? 4 : 2;  // a kDotRows x 4 tile of dots
constexpr int kDotColumns = 4;

namespace detail {

// The compiler's own vector type, as long as a Vec: at::vec's is an array in the baseline build,
// which compilers do not keep in registers. a * b + c contracts to a fused multiply-add.
template <class T>
using Register [[gnu::vector_size(sizeof(Vec<T>)), gnu::aligned(alignof(T)), gnu::may_alias]] = T;

template <class T>
inline const Register<T>& as_register(const T* from) {
  return *reinterpret_cast<const Register<T>*>(from);
}

template <class T, int M, int N>
void multiply_tile(int64_t depth, const T* __restrict a, const T* __restrict b, int64_t ldb,
                   T* __restrict c, int64_t ldc) {
  Register<T> sum[M][N] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Register<T> row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = as_register(b + n * lanes<T>());
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] += a[m] * row[n];
    a += M;
    b += ldb;
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      *reinterpret_cast<Register<T>*>(c + m * ldc + n * lanes<T>()) = sum[m][n];
}

template <class T>
using MultiplyTile = void (*)(int64_t, const T*, const T*, int64_t, T*, int64_t);

// kMultiply[rows - 1][vectors - 1]
template <class T, int... I>
constexpr auto multiply_tiles(std::integer_sequence<int, I...>) {
  return std::array<MultiplyTile<T>, sizeof...(I)>{
      &multiply_tile<T, I / kTileVectors + 1, I % kTileVectors + 1>...};
}
template <class T>
constexpr auto kMultiplyTiles =
    multiply_tiles<T>(std::make_integer_sequence<int, kTileRows * kTileVectors>{});

// g[0 .. 3] += the sums over the lanes of v[0 .. 3]
template <class T>
inline void add_lane_sums(const Register<T>* v, T* g) {
  for (int i = 0; i < kDotColumns; ++i)
    for (int64_t lane = 0; lane < lanes<T>(); ++lane) g[i] += v[i][lane];
}

#if defined(CPU_CAPABILITY_AVX512)
inline __m256 halves(__m512 v) {
  return _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
}
inline __m256d halves(__m512d v) {
  return _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
}
#elif defined(CPU_CAPABILITY_AVX2)
inline __m256 halves(__m256 v) { return v; }
inline __m256d halves(__m256d v) { return v; }
#endif
#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)
template <>
inline void add_lane_sums<float>(const Register<float>* v, float* g) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(halves(v[0]), halves(v[1])),
                                      _mm256_hadd_ps(halves(v[2]), halves(v[3])));
  const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
  _mm_storeu_ps(g, _mm_add_ps(_mm_loadu_ps(g), sums));
}
template <>
inline void add_lane_sums<double>(const Register<double>* v, double* g) {
  const __m256d low = _mm256_hadd_pd(halves(v[0]), halves(v[1]));   // 0 1 0 1
  const __m256d high = _mm256_hadd_pd(halves(v[2]), halves(v[3]));  // 2 3 2 3
  const __m256d sums = _mm256_add_pd(_mm256_permute2f128_pd(low, high, 0x20),
                                     _mm256_permute2f128_pd(low, high, 0x31));
  _mm256_storeu_pd(g, _mm256_add_pd(_mm256_loadu_pd(g), sums));
}
#endif

template <class T, int M, int N>
void dot_tile(int64_t vectors, const T* __restrict x, int64_t ldx, const T* __restrict y,
              int64_t ldy, T* __restrict g, int64_t ldg) {
  Register<T> sum[M][kDotColumns] = {};
  for (int64_t v = 0; v < vectors; ++v) {
    Register<T> row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = as_register(y + n * ldy);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const Register<T> factor = as_register(x + m * ldx);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] += factor * row[n];
    }
    x += lanes<T>();
    y += lanes<T>();
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    if constexpr (N == kDotColumns) {
      add_lane_sums<T>(sum[m], g + m * ldg);
    } else {
      T sums[kDotColumns] = {};
      add_lane_sums<T>(sum[m], sums);
      for (int n = 0; n < N; ++n) g[m * ldg + n] += sums[n];
    }
  }
}

template <class T>
using DotTile = void (*)(int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t);

template <class T, int... I>
constexpr auto dot_tiles(std::integer_sequence<int, I...>) {
  return std::array<DotTile<T>, sizeof...(I)>{
      &dot_tile<T, I / kDotColumns + 1, I % kDotColumns + 1>...};
}
template <class T>
constexpr auto kDotTiles = dot_tiles<T>(std::make_integer_sequence<int, kDotRows * kDotColumns>{});

}  // namespace detail

// a [rows, depth] cut into blocks of nearly equal height, at most kTileRows, each stored
// [depth][height]: the order in which multiply reads it.
template <class T>
class PackedMatrix {
 public:
  // Packs a[r * row_stride + k * depth_stride] into `storage`, rows * depth long.
  PackedMatrix(const T* a, int64_t rows, int64_t depth, int64_t row_stride, int64_t depth_stride,
               T* storage)
      : rows_(rows), depth_(depth), data_(storage) {
    for (int64_t i = 0; i < blocks(); ++i) {
      T* block = storage + begin(i) * depth;
      const int64_t height = begin(i + 1) - begin(i);
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t m = 0; m < height; ++m)
          block[k * height + m] = a[(begin(i) + m) * row_stride + k * depth_stride];
    }
  }

  int64_t depth() const { return depth_; }
  int64_t blocks() const { return (rows_ + kTileRows - 1) / kTileRows; }
  int64_t begin(int64_t block) const { return block * rows_ / blocks(); }
  const T* block(int64_t i) const { return data_ + begin(i) * depth_; }

 private:
  int64_t rows_, depth_;
  const T* data_;
};

// c[r][n] = sum_k a[r][k] b[k][n] for all rows of a and 0 <= n < vectors * lanes.
template <class T>
void multiply(const PackedMatrix<T>& a, const T* b, int64_t ldb, T* c, int64_t ldc,
              int64_t vectors) {
  // A panel of b, kTileVectors wide, stays in the first-level cache while all of a passes.
  for (int64_t v = 0; v < vectors; v += kTileVectors) {
    const int64_t n = std::min<int64_t>(kTileVectors, vectors - v);
    for (int64_t i = 0; i < a.blocks(); ++i) {
      const int64_t m = a.begin(i + 1) - a.begin(i);
      detail::kMultiplyTiles<T>[(m - 1) * kTileVectors + n - 1](
          a.depth(), a.block(i), b + v* lanes<T>(), ldb, c + a.begin(i)* ldc + v* lanes<T>(), ldc);
    }
  }
}

// g[r][s] += sum_n x[r][n] y[s][n] for r < rows, s < columns, 0 <= n < vectors * lanes.
template <class T>
void accumulate_dots(int64_t rows, int64_t columns, int64_t vectors, const T* x, int64_t ldx,
                     const T* y, int64_t ldy, T* g, int64_t ldg) {
  // A few rows of y stay in the first-level cache while all of x passes.
  constexpr int64_t kResident = 2 * kDotColumns;
  for (int64_t s0 = 0; s0 < columns; s0 += kResident) {
    const int64_t s1 = std::min(columns, s0 + kResident);
    for (int64_t r = 0; r < rows; r += kDotRows) {
      const int64_t m = std::min<int64_t>(kDotRows, rows - r);
      for (int64_t s = s0; s < s1; s += kDotColumns) {
        const int64_t n = std::min<int64_t>(kDotColumns, s1 - s);
        detail::kDotTiles<T>[(m - 1) * kDotColumns + n - 1](vectors, x + r* ldx, ldx, y + s* ldy,
                                                            ldy, g + r* ldg + s, ldg);
      }
    }
  }
}

}  // namespace pyneural
