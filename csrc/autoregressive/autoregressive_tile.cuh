// A tile of points on its way through an autoregressive layer on CUDA, forward and backward.
//
// The units of a tile are [units][points], in shared memory where they fit; a lane has the same
// points in all of a tile's work. The parameters of the transforms, of which there are most, are
// there for a few features at a time. The inverse is a forward substitution in stages: the units of
// the next degree, then the features that they give. The backward pushes gradients down from what
// is differentiated to all that it saw, so that it can go stage by stage, too.
#pragma once

#include "../common/scalar_math.h"
#include "autoregressive_sort.cuh"

namespace pyneural::autoregressive {

constexpr int kWarp = 32, kWarps = kThreads / kWarp;
constexpr int kPointsOfLane = 2, kPoints = kPointsOfLane * kWarp;  // of a tile
constexpr int kRows = 8;                                           // of a product, of a warp
constexpr int64_t kEverything = INT64_MAX;

struct Range {
  int64_t begin, end;
};

// use(row, point, sum over k of matrix[row][k] b[k - first_k][point]) for some rows, k in
// range_of(first row, last row). Each sum is made and used by the lane of its point.
template <class T, class RangeOf, class Use>
__device__ void multiply_rows(const T* matrix, int64_t stride, Range rows, const T* b,
                              int64_t first_k, const RangeOf& range_of, const Use& use) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp,
            lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t row = rows.begin + warp * kRows; row < rows.end; row += kWarps * kRows) {
    const int64_t count = rows.end - row < kRows ? rows.end - row : kRows;
    const Range range = range_of(row, row + count - 1);
    const T* of_row[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) of_row[r] = matrix + (row + (r < count ? r : 0)) * stride;
    T sum[kRows][kPointsOfLane] = {};
    const auto add = [&](int64_t k, const T(&left)[kRows]) {
#pragma unroll
      for (int j = 0; j < kPointsOfLane; ++j) {
        const T right = b[(k - first_k) * kPoints + j * kWarp + lane];
#pragma unroll
        for (int r = 0; r < kRows; ++r) sum[r][j] += left[r] * right;
      }
    };
    const auto add_one = [&](int64_t k) {
      T left[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) left[r] = of_row[r][k];
      add(k, left);
    };
    struct alignas(kQuad * sizeof(T) > 16 ? 16 : kQuad * sizeof(T)) Quad {
      T element[kQuad];
    };
    int64_t k = range.begin;
    for (; k < range.end && k % kQuad != 0; ++k) add_one(k);
    for (; k + kQuad <= range.end; k += kQuad) {
      Quad quad[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) quad[r] = *reinterpret_cast<const Quad*>(of_row[r] + k);
#pragma unroll
      for (int i = 0; i < kQuad; ++i) {
        T left[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) left[r] = quad[r].element[i];
        add(k + i, left);
      }
    }
    for (; k < range.end; ++k) add_one(k);
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int j = 0; j < kPointsOfLane; ++j)
        if (r < count) use(row + r, j * kWarp + lane, sum[r][j]);
  }
}

// A tile of points on its way through the layer. Levels are [units][kPoints].
template <class T, class Transform>
class BlockTile {
  using P = AutoregressiveParams<T>;

 public:
  __device__ BlockTile(const P& params, const Transform& transform, T* shared)
      : params_(params),
        transform_(transform),
        slab_(params.slab),
        memory_(params.shared_slab ? shared : params.scratch + blockIdx.x * params.slab.size),
        last_(params.layers - 1) {}

  __device__ void forward(int64_t first) {
    first_ = first;
    load_inputs(params_.x, !params_.inverse || params_.is_coupling());
    for (int64_t n = threadIdx.x; n < kPoints; n += kThreads) memory_[slab_.total_ladj + n] = T(0);
    __syncthreads();
    for_stages([&](int64_t before, int64_t degree, Range features) {
      compute_units(before, degree);
      for_chunks(features, [&](Range chunk) {
        compute_parameters(chunk);
        transform_features(chunk);
      });
    });
    for (int64_t n = threadIdx.x; n < kPoints; n += kThreads)
      if (is_row(n)) params_.ladj[first_ + n] = memory_[slab_.total_ladj + n];
    for_points(params_.is_coupling() ? params_.width[0] : 0, [&](int64_t i, int64_t n) {
      const int64_t column = index_of(params_, 0, P::column)[i];
      if (column < params_.features && is_row(n)) at(params_.y, n, column) = given(n, column);
    });
    __syncthreads();
  }

  // Adds to the block's gradient of the parameters.
  __device__ void backward(int64_t first, T* partial) {
    first_ = first;
    load_inputs(params_.seen, true);
    for (int t = 0; t <= last_; ++t)
      for_points(params_.width[t],
                 [&](int64_t i, int64_t n) { memory_[slab_.grad[t] + i * kPoints + n] = T(0); });
    __syncthreads();
    compute_units(-1, kEverything);
    for_stages_backwards([&](int64_t before, int64_t degree, Range features) {
      for_chunks(features, [&](Range chunk) {
        compute_parameters(chunk);
        differentiate_features(chunk);
        const Range rows{0, (chunk.end - chunk.begin) * params_.parameters_of_feature};
        const int64_t begin = chunk.begin * params_.parameters_of_feature;
        push_gradients(last_, begin, rows, memory_ + slab_.parameters);
        if (partial) add_gradients(last_, begin, rows, memory_ + slab_.parameters, partial);
        __syncthreads();
      });
      for (int l = last_ - 1; l >= 0; --l) {
        const Range units{count_up_to(l + 1, before), count_up_to(l + 1, degree)};
        differentiate_units(l + 1, units);
        push_gradients(l, 0, units, memory_ + slab_.grad[l + 1]);
        __syncthreads();
      }
    });
    for (int l = 0; partial && l < last_; ++l)
      add_gradients(l, 0, {0, params_.width[l + 1]}, memory_ + slab_.grad[l + 1], partial);
    store_gradients();
    __syncthreads();
  }

 private:
  __device__ T* level(int t) const { return memory_ + slab_.a[t]; }
  __device__ bool is_row(int64_t n) const { return first_ + n < params_.rows; }
  // Rows beyond the last are those of the last.
  __device__ int64_t row_of(int64_t n) const { return is_row(n) ? first_ + n : params_.rows - 1; }
  __device__ T& at(T* to, int64_t n, int64_t column) const {
    return to[(first_ + n) * params_.features + column];
  }
  __device__ T given(int64_t n, int64_t column) const {
    return params_.x[row_of(n) * params_.features + column];
  }
  __device__ const T* weights(int l) const { return params_.sorted + params_.weight_at[l]; }
  __device__ int64_t stride(int l) const { return whole_quads(params_.width[l]); }

  template <class Body>
  __device__ void for_points(int64_t rows, const Body& body) const {
    for (int64_t i = threadIdx.x; i < rows * kPoints; i += kThreads) body(i / kPoints, i % kPoints);
  }

  // Units of a level of degrees up to a limit, which are its first.
  __device__ int64_t count_up_to(int t, int64_t limit) const {
    const int64_t* const degrees = index_of(params_, t, P::degree);
    int64_t low = 0, high = params_.units_of(t);
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (degrees[middle] <= limit)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }

  // Whether there is more than one stage.
  __device__ bool substitutes() const { return params_.inverse && !params_.is_coupling(); }

  // body(degree before, degree, features) for each stage in turn: the units of degrees between
  // these, and the features of this one.
  template <class Body>
  __device__ void for_stages(const Body& body) const {
    const int64_t features = params_.transformed();
    if (!substitutes()) return body(-1, kEverything, Range{0, features});
    const int64_t* const degrees = index_of(params_, params_.layers, P::degree);
    int64_t before = -1;
    for (int64_t f = 0; f < features;) {
      const int64_t degree = degrees[f], end = count_up_to(params_.layers, degree);
      body(before, degree, Range{f, end});
      before = degree;
      f = end;
    }
  }
  template <class Body>
  __device__ void for_stages_backwards(const Body& body) const {
    const int64_t features = params_.transformed();
    if (!substitutes()) return body(-1, kEverything, Range{0, features});
    const int64_t* const degrees = index_of(params_, params_.layers, P::degree);
    for (int64_t end = features; end > 0;) {
      const int64_t degree = degrees[end - 1], f = count_up_to(params_.layers, degree - 1);
      body(f > 0 ? degrees[f - 1] : -1, degree, Range{f, end});
      end = f;
    }
  }
  template <class Body>
  __device__ void for_chunks(Range features, const Body& body) const {
    for (int64_t f = features.begin; f < features.end; f += params_.chunk)
      body(Range{f, f + params_.chunk < features.end ? f + params_.chunk : features.end});
  }

  // The context, and the features where they are known.
  __device__ void load_inputs(const T* x, bool with_features) const {
    const int64_t D = params_.features, C = params_.context_columns;
    for_points(params_.width[0], [&](int64_t i, int64_t n) {
      const int64_t column = index_of(params_, 0, P::column)[i], row = row_of(n);
      if (column >= D)
        level(0)[i * kPoints + n] = params_.context[row * C + column - D];
      else if (with_features)
        level(0)[i * kPoints + n] = x[row * D + column];
    });
  }

  __device__ void compute_units(int64_t before, int64_t degree) const {
    for (int l = 0; l < last_; ++l) {
      const Range units{count_up_to(l + 1, before), count_up_to(l + 1, degree)};
      multiply(l, 0, units, memory_ + slab_.z[l + 1]);
      T *const z = memory_ + slab_.z[l + 1], *const a = level(l + 1);
      for_points(units.end - units.begin, [&](int64_t i, int64_t n) {
        const int64_t e = (units.begin + i) * kPoints + n;
        visit_activation(params_.activation, [&](auto kind) {
          T f[1];
          decltype(kind)::template evaluate<0>(z[e], f);
          a[e] = f[0];
        });
      });
      __syncthreads();
    }
  }

  __device__ void compute_parameters(Range features) const {
    const int64_t each = params_.parameters_of_feature;
    multiply(last_, features.begin * each, {0, (features.end - features.begin) * each},
             memory_ + slab_.parameters);
  }

  // to[row] = what a layer gives for its row begin + row, before the activation.
  __device__ void multiply(int l, int64_t begin, Range rows, T* to) const {
    const int64_t* const visible = index_of(params_, l + 1, P::visible);
    const int64_t each = l == last_ ? params_.parameters_of_feature : 1;
    const T *const w = weights(l) + begin * stride(l), *const bias =
                                                           weights(l) +
                                                           params_.width[l + 1] * stride(l) + begin;
    multiply_rows(
        w, stride(l), rows, level(l), 0,
        [&](int64_t, int64_t last) { return Range{0, visible[(begin + last) / each]}; },
        [&](int64_t m, int64_t n, T sum) { to[m * kPoints + n] = sum + bias[m]; });
    __syncthreads();
  }

  __device__ void transform_features(Range features) const {
    const int64_t count = features.end - features.begin, each = params_.parameters_of_feature;
    for_points(count, [&](int64_t i, int64_t n) {
      T* const parameters = memory_ + slab_.parameters + i * each * kPoints + n;
      const int64_t f = features.begin + i,
                    column = index_of(params_, params_.layers, P::column)[f],
                    input = index_of(params_, params_.layers, P::input)[f];
      const auto values =
          evaluate(transform_, given(n, column), parameters, parameters, int64_t{kPoints});
      if (is_row(n)) at(params_.y, n, column) = values.y;
      if (substitutes()) level(0)[input * kPoints + n] = values.y;
      memory_[slab_.ladj + i * kPoints + n] = values.ladj;
    });
    __syncthreads();
    for (int64_t n = threadIdx.x; n < kPoints; n += kThreads)
      for (int64_t i = 0; i < count; ++i)
        memory_[slab_.total_ladj + n] += memory_[slab_.ladj + i * kPoints + n];
    __syncthreads();
  }

  // In the place of the parameters their gradients; into grad_x those by the transforms, and of the
  // inverse by all, since the network has seen what it gave.
  __device__ void differentiate_features(Range features) const {
    const int64_t each = params_.parameters_of_feature, D = params_.features;
    for_points(features.end - features.begin, [&](int64_t i, int64_t n) {
      const int64_t f = features.begin + i,
                    column = index_of(params_, params_.layers, P::column)[f],
                    input = index_of(params_, params_.layers, P::input)[f], row = first_ + n;
      T* const parameters = memory_ + slab_.parameters + i * each * kPoints + n;
      T* const working = memory_ + slab_.working + i * each * kPoints + n;
      T grad_y = is_row(n) ? params_.grad_y[row * D + column] : T(0);
      if (substitutes()) grad_y += memory_[slab_.grad[0] + input * kPoints + n];
      const T grad_x = differentiate(transform_, given(n, column), grad_y,
                                     is_row(n) ? params_.grad_ladj[row] : T(0), parameters, working,
                                     int64_t{kPoints});
      if (params_.grad_x && is_row(n)) at(params_.grad_x, n, column) = grad_x;
    });
    __syncthreads();
  }

  __device__ void differentiate_units(int t, Range units) const {
    T *const grad = memory_ + slab_.grad[t], *const saved = memory_ + slab_.z[t];
    for_points(units.end - units.begin, [&](int64_t i, int64_t n) {
      const int64_t e = (units.begin + i) * kPoints + n;
      visit_activation(params_.activation, [&](auto kind) {
        grad[e] = multiply_by_slope<decltype(kind)>(grad[e], saved[e]);
      });
    });
    __syncthreads();
  }

  // Adds to the gradients of all that the rows begin + rows of a layer see, from theirs.
  __device__ void push_gradients(int l, int64_t begin, Range rows, const T* grad) const {
    if (l == 0 && !substitutes() && !params_.grad_x && !params_.grad_context) return;
    if (rows.begin == rows.end) return;
    const int64_t* const first = index_of(params_, l, P::first);
    const int64_t* const visible = index_of(params_, l + 1, P::visible);
    const int64_t each = l == last_ ? params_.parameters_of_feature : 1,
                  seen = visible[(begin + rows.end - 1) / each];
    T* const to = memory_ + slab_.grad[l];
    multiply_rows(
        params_.sorted + params_.transposed_at[l], whole_quads(params_.width[l + 1]), {0, seen},
        grad, begin,
        [&](int64_t k, int64_t) {
          const int64_t from = first[k] * each;
          return Range{from > begin + rows.begin ? from : begin + rows.begin, begin + rows.end};
        },
        [&](int64_t k, int64_t n, T sum) { to[k * kPoints + n] += sum; });
  }

  // partial += the gradient of the rows begin + rows of a layer's parameters, from those of what
  // they gave. Masked elements mean nothing. Lanes begin at different points, in other banks of
  // shared memory.
  __device__ void add_gradients(int l, int64_t begin, Range rows, const T* grad, T* partial) const {
    constexpr int kColumns = 2 * kWarp;
    const int warp = static_cast<int>(threadIdx.x) / kWarp,
              lane = static_cast<int>(threadIdx.x) % kWarp;
    const int64_t each = l == last_ ? params_.parameters_of_feature : 1, in = params_.width[l];
    const int64_t* const visible = index_of(params_, l + 1, P::visible);
    T* const to = partial + params_.weight_at[l] + begin * stride(l);
    const int64_t strips = tiles_of(in, kColumns);
    for (int64_t i = warp; i < tiles_of(rows.end, kRows) * strips; i += kWarps) {
      const int64_t row = i / strips * kRows, column = i % strips * kColumns + lane;
      const int64_t count = rows.end - row < kRows ? rows.end - row : kRows;
      if (i % strips * kColumns >= visible[(begin + row + count - 1) / each]) continue;
      const T* const g = grad + row * kPoints;
      const T *const first = level(l) + (column < in ? column : 0) * kPoints,
                     *const second =
                         level(l) + (column + kWarp < in ? column + kWarp : 0) * kPoints;
      T sum[kRows][2] = {};
      for (int k = 0; k < kPoints; ++k) {
        const int n = (k + lane) % kPoints;
        const T left = first[n], right = second[n];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const T factor = g[(r < count ? r : 0) * kPoints + n];
          sum[r][0] += factor * left;
          sum[r][1] += factor * right;
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (r < count && column < in) to[(row + r) * stride(l) + column] += sum[r][0];
        if (r < count && column + kWarp < in)
          to[(row + r) * stride(l) + column + kWarp] += sum[r][1];
      }
    }
    T* const bias = partial + params_.weight_at[l] + params_.width[l + 1] * stride(l) + begin;
    for (int64_t m = threadIdx.x; m < rows.end; m += kThreads) {
      T sum = T(0);
      for (int k = 0; k < kPoints; ++k) sum += grad[m * kPoints + (k + m) % kPoints];
      bias[m] += sum;
    }
  }

  // What the network adds to the gradients of its inputs.
  __device__ void store_gradients() const {
    const int64_t D = params_.features, C = params_.context_columns;
    const T* const grad = memory_ + slab_.grad[0];
    for_points(params_.width[0], [&](int64_t i, int64_t n) {
      const int64_t column = index_of(params_, 0, P::column)[i], row = first_ + n;
      if (!is_row(n)) return;
      if (column >= D) {
        if (params_.grad_context)
          params_.grad_context[row * C + column - D] = grad[i * kPoints + n];
      } else if (params_.grad_x && !substitutes()) {
        const T before = params_.is_coupling() ? params_.grad_y[row * D + column]
                                               : at(params_.grad_x, n, column);
        at(params_.grad_x, n, column) = before + grad[i * kPoints + n];
      }
    });
  }

  const P& params_;
  const Transform& transform_;
  const Slab& slab_;
  T* const memory_;
  const int last_;
  int64_t first_ = 0;
};

}  // namespace pyneural::autoregressive
