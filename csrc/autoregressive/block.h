// Blocks of points on their way through a layer, and what a forward keeps of them for a backward.
//
// Letters: U units of a layer, P parameters of a feature's transform, n points. Units are rows and
// points are columns, [U][n]: a product multiplies rows of weights with vectors of points, however
// few units of a degree there are, and a transform is one of vectors of points.
#pragma once

#include "../common/parallel.h"
#include "conditioner.h"

namespace pyneural::autoregressive {

// How the points of a call are cut into blocks: all of `size` points, whole vectors, but the last.
struct Blocks {
  // A block of at least so many has rows that are at most half as long again, see kept_size.
  static constexpr int64_t kLeast = 64;
  static constexpr int64_t kOfThread = 8;

  // As many for each thread, of about `points` each, or of fewer, for threads to share them out.
  template <class T>
  static Blocks cut(int64_t rows, int64_t threads, int64_t points) {
    const int64_t share = (rows + threads - 1) / threads;
    if (threads > 1) points = std::min(points, std::max(share / kOfThread, kLeast));
    const int64_t count = threads * std::max<int64_t>((share + points / 2) / points, 1);
    const int64_t size = std::max((rows + count - 1) / count, std::min(kLeast, rows));
    return {rows, round_up(size, lanes<T>())};
  }

  int64_t count() const { return (rows + size - 1) / size; }
  int64_t first(int64_t block) const { return block * size; }
  int64_t last(int64_t block) const { return std::min(first(block + 1), rows); }  // behind it
  int64_t points(int64_t block) const { return last(block) - first(block); }

  int64_t rows, size;
};

// What a forward keeps for a backward, in one piece of memory: the size of its blocks, in a cache
// line, and what each layer was given and computed of each block. That is fewer elements than this,
// whatever the threads and the instruction set.
inline int64_t kept_units(const FlowLayer& layer) {
  int64_t units = 0, hidden = 0;
  for (int64_t l = 0; l <= layer.layers(); ++l) {
    units += layer.width[l];
    if (0 < l && l < layer.layers()) hidden += layer.width[l];
  }
  return units + layer.features + (needs_preactivation(layer.activation) ? hidden : 0);
}
constexpr int64_t kKeptBefore = 16;
inline int64_t kept_size(const Flow& flow) {
  int64_t units = 0;
  for (const FlowLayer& layer : flow.layers) units += kept_units(layer);
  return kKeptBefore + units * (flow.rows + flow.rows / 2 + Blocks::kLeast);
}

// Where what is kept of a block and a layer begins: those of a layer follow each other.
inline int64_t kept_at(const Flow& flow, const Blocks& blocks, int64_t stride, int64_t layer,
                       int64_t block) {
  int64_t rows = kept_units(flow.layers[layer]) * block;
  for (int64_t l = 0; l < layer; ++l) rows += kept_units(flow.layers[l]) * blocks.count();
  return kKeptBefore + rows * stride;
}

// What a layer is given of a block, and its activations: inputs, hidden units, parameters of the
// transforms.
template <class T>
struct Activations {
  Activations(const FlowLayer& layer, T* memory, int64_t stride) {
    const auto take = [&](int64_t rows) {
      T* const taken = memory;
      memory += rows * stride;
      return taken;
    };
    given = take(layer.features);
    const bool with_z = needs_preactivation(layer.activation);
    for (int64_t l = 0; l <= layer.layers(); ++l) {
      const bool is_hidden = 0 < l && l < layer.layers();
      a.push_back(take(layer.width[l]));
      z.push_back(is_hidden && with_z ? take(layer.width[l]) : nullptr);
    }
  }

  T* given;           // [features][n], sorted
  std::vector<T*> a;  // [L + 1] of [U][n]
  std::vector<T*> z;  // [L + 1] likewise, before f, where f' is no function of f
};

// Features of points as they come and go: [n, features] of a tensor, or [features][n] of a block.
template <class T>
struct Points {
  T* data;
  int64_t point, feature;  // elements from one to the next

  T* column(int64_t d) const { return data + d * feature; }
  operator Points<const T>() const { return {data, point, feature}; }
};

// The rows [begin, end) of a product.
struct Range {
  int64_t begin, end;
};

// What forward and backward of a block share.
template <class T>
class Block {
 public:
  // Points of a block: as many as keep all that belongs to them in half of the second-level cache,
  // while they are in a layer.
  static int64_t points(const Flow& flow, bool with_backward) {
    int64_t elements = 0;
    for (const FlowLayer& layer : flow.layers) {
      int64_t of_layer = layer.features;
      for (const int64_t width : layer.width) of_layer += width * (with_backward ? 2 : 1);
      elements = std::max(elements, of_layer);
    }
    const int64_t cached = caches().level2 / 2 / (elements * static_cast<int64_t>(sizeof(T)));
    return std::clamp<int64_t>(cached / panel_width<T>(), 3, 15) * panel_width<T>();
  }

  // Rows an odd number of cache lines apart do not share a few sets of the caches.
  static int64_t stride_of(int64_t points) { return odd_lines<T>(points); }

 protected:
  Block(const FlowLayer& layer, const Conditioner<T>& network) : layer_(layer), network_(network) {}

  void begin(int64_t points) {
    count_ = points;
    vectors_ = vectors_of<T>(points);
    stride_ = stride_of(points);
  }

  int64_t columns() const { return vectors_ * lanes<T>(); }
  template <class Row>
  Row* row(Row* rows, int64_t i) const {
    return rows + i * stride_;
  }
  int64_t input_of(int64_t sorted_feature) const {
    return network_.feature_row[network_.feature_at[sorted_feature]];
  }
  // The rows of the parameters of some sorted features.
  Range parameters_of(int64_t begin, int64_t end) const {
    const int64_t P = layer_.parameters_of_feature;
    return {(begin - layer_.staying) * P, (end - layer_.staying) * P};
  }

  // to [n] from elements that are `step` apart, 0 up to the vector's end.
  void load_column(const T* from, int64_t step, T* to) const {
    if (step == 1)
      std::copy_n(from, count_, to);
    else
      for (int64_t n = 0; n < count_; ++n) to[n] = from[n * step];
    std::fill(to + count_, to + this->columns(), T(0));
  }
  void load_features(Points<const T> from, T* to) const {
    for (int64_t f = 0; f < layer_.features; ++f)
      load_column(from.column(network_.feature_at[f]), from.point, row(to, f));
  }
  void store_features(const T* from, Points<T> to) const {
    for (int64_t f = 0; f < layer_.features; ++f) {
      T* const column = to.column(network_.feature_at[f]);
      if (to.point == 1)
        std::copy_n(row(from, f), count_, column);
      else
        for (int64_t n = 0; n < count_; ++n) column[n * to.point] = row(from, f)[n];
    }
  }

  // The rows of a matrix times b, over the columns that columns_of(first row, last row) tells;
  // use(first row, rows, vectors, their products in place). What is needed next in the places of
  // the products is fetched meanwhile.
  template <class ColumnsOf, class Use>
  void multiply_rows(const T* matrix, int64_t matrix_stride, Range rows, const T* b, T* product,
                     const ColumnsOf& columns_of, const Use& use, const T* needed = nullptr) const {
    for (int64_t v = 0; v < vectors_; v += kTileVectors) {
      const int64_t vectors = std::min<int64_t>(kTileVectors, vectors_ - v);
      for_row_tiles(rows.begin, rows.end, [&](int64_t first, int64_t count) {
        const Range columns = columns_of(first, first + count - 1);
        T* const to = product + first * stride_ + v * lanes<T>();
        if (needed) prefetch_rows(needed + first * stride_ + v * lanes<T>(), count);
        multiply<T>({matrix + first * matrix_stride + columns.begin, matrix_stride, 1}, count,
                    columns.end - columns.begin,
                    {b + columns.begin * stride_ + v * lanes<T>(), stride_, vectors}, to, stride_);
        use(first, count, vectors, to);
      });
    }
  }

  // The columns of a tile.
  void prefetch_rows(const T* from, int64_t rows) const {
    constexpr int64_t kLine = kCacheLine / static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t n = 0; n < kTileVectors * lanes<T>(); n += kLine)
        __builtin_prefetch(from + i * stride_ + n);
  }

  const FlowLayer& layer_;
  const Conditioner<T>& network_;
  int64_t count_ = 0, vectors_ = 0, stride_ = 0;  // of the block at hand
};

}  // namespace pyneural::autoregressive
