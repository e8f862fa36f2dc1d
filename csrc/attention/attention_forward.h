// The forward of attention on the CPU: tiles of scores with an online softmax (Milakov and
// Gimelshein 2018, Dao et al. 2022).
//
// Notation of notation.h. A task is a chunk of queries of one head. For each block of keys, packed
// once, and each block of the task's queries: scores s = q k^T in units of log2 (scale and log2(e)
// are in q), the row's maximum m so far, weights p = 2^(s - m), their sum l, and o = 2^(m_before -
// m) o + p v. The result of a row depends neither on the cut into chunks nor on the threads.
#pragma once

#include <cmath>

#include "../common/exponential.h"
#include "../common/parallel.h"
#include "products.h"

namespace pyneural::attention::cpu {

template <class Products>
class Forward {
 public:
  using In = typename Products::In;
  using T = typename Products::T;
  using Word = typename Products::Word;

  // lse [N, H, L] is contiguous, or null.
  Forward(const Problem& problem, const Arguments& a, const Dropout& dropout, const at::Tensor& out,
          T* lse)
      : problem_(problem),
        q_(a.q),
        k_(a.k),
        v_(a.v),
        out_(out),
        mask_(a.mask, problem),
        dropout_(dropout),
        lse_(lse) {
    has_zero_weights_ = a.mask || problem.is_causal || problem.dropout > 0;
    score_factor_ = static_cast<T>(problem.scale) * kLog2E<T>;
  }

  void run() {
    const double work = static_cast<double>(problem_.batch * problem_.heads) *
                        static_cast<double>(problem_.queries) * static_cast<double>(problem_.keys) *
                        static_cast<double>(problem_.width + problem_.value_width + kSoftmaxWork);
    const int64_t threads = useful_threads(work);
    const int64_t chunks = chunks_of_head(threads);
    // Causal: the last chunks have the most keys, and go first.
    parallel_tasks(problem_.batch * problem_.heads * chunks, threads, [&](int64_t task) {
      const int64_t head = task % (problem_.batch * problem_.heads),
                    chunk = chunks - 1 - task / (problem_.batch * problem_.heads);
      attend(head / problem_.heads, head % problem_.heads,
             begin_of_part(chunk, chunks, problem_.queries),
             begin_of_part(chunk + 1, chunks, problem_.queries));
    });
  }

 private:
  static constexpr int64_t kQueryBlock = 8 * kTileRows;  // rows whose scores are held at a time
  static constexpr int64_t kChunkElements = 1 << 16;     // of q and o: they stay in the cache
  static constexpr int64_t kFewRows = kDotRows;
  static constexpr int64_t kSoftmaxWork = 16;  // of a score, in multiply-adds

  // State of a task: letters as above, R its rows.
  struct Chunk {
    int64_t n, h, first, rows;
    Rows<Word> q;
    T *o, *m, *l;        // [R][padded(Ev)], [R], [R]
    Word *keys, *k, *v;  // [kKeyBlock][left_stride(E)], panels [words(E)][width], panels
    T* p;                // [kQueryBlock][kScoresStride]: scores, then weights
    Word* p_left;        // the same as a left operand, where that has another form
  };
  // A block of keys of a chunk, packed.
  struct KeyBlock {
    int64_t first, count;
    Rows<Word> k;
    Panels<Word> v;
  };

  int64_t chunks_of_head(int64_t threads) const {
    const int64_t row =
        std::max(padded<T>(problem_.width) + padded<T>(problem_.value_width), lanes<T>());
    const int64_t fit = std::max(kQueryBlock, kChunkElements / row / kQueryBlock * kQueryBlock);
    const int64_t heads = problem_.batch * problem_.heads;
    const auto up = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    // Enough tasks to keep all threads busy to the end, as far as there are blocks.
    const int64_t wanted = threads > 1 ? up(4 * threads, heads) : 1;
    return std::max(up(problem_.queries, fit), std::min(wanted, up(problem_.queries, kQueryBlock)));
  }

  void attend(int64_t n, int64_t h, int64_t first, int64_t last) const {
    Scratch scratch;
    const int64_t rows = last - first, ldo = padded<T>(problem_.value_width);
    Chunk c{n, h, first, rows};
    c.o = scratch.take<T>(rows * ldo);
    c.m = scratch.take<T>(rows + lanes<T>());
    c.l = scratch.take<T>(rows);
    c.keys = scratch.take<Word>(kKeyBlock * Products::left_stride(problem_.width));
    c.k =
        scratch.take<Word>(round_up(kKeyBlock, panel_width<T>()) * Products::words(problem_.width));
    c.v = scratch.take<Word>(panels_size<T>(Products::words(kKeyBlock), problem_.value_width));
    c.p = scratch.take<T>(kQueryBlock * kScoresStride<T>);
    c.p_left = scratch.take<Word>(kQueryBlock * Products::words(kScoresStride<T>));
    prefetch(c, 0);
    c.q = Products::left_rows(
        q_.row(n, h, first), q_.row_stride, rows, problem_.width, score_factor_,
        /*check=*/false, scratch.take<Word>(rows * Products::left_stride(problem_.width)));
    std::fill_n(c.o, rows * ldo, T(0));
    std::fill_n(c.m, rows, kMasked<T>);
    std::fill_n(c.l, rows, T(0));
    const int64_t blocks = (rows + kQueryBlock - 1) / kQueryBlock,
                  seen = key_limit(problem_, last - 1);
    for (int64_t key = 0; key < seen; key += kKeyBlock) {
      KeyBlock block{key, std::min(kKeyBlock, seen - key), {}, {}};
      prefetch(c, key + kKeyBlock);
      bool is_packed = false;
      for (int64_t g = 0; g < blocks; ++g) {
        const int64_t begin = begin_of_part(g, blocks, rows),
                      end = begin_of_part(g + 1, blocks, rows);
        const int64_t count = keys_of(c, block, end - 1);
        if (count <= 0) continue;
        const BlockMask block_mask = mask_.block_mask(n, h, first + begin, end - begin, key, count);
        if (block_mask == BlockMask::empty) continue;
        if (!is_packed) pack(c, &block);
        is_packed = true;
        attend_block(c, block, begin, end, block_mask);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      // Not l > 0: a NaN must stay one.
      const T factor = c.l[r] == T(0) ? T(0) : T(1) / c.l[r];
      store_row(c.o + r * ldo, problem_.value_width, factor, out_.row(n, h, first + r));
      if (lse_)
        lse_[(n * problem_.heads + h) * problem_.queries + first + r] =
            c.l[r] == T(0) ? -kMasked<T> : (c.m[r] + std::log2(c.l[r])) / kLog2E<T>;
    }
  }

  // How many keys of the block a row of the chunk may see.
  int64_t keys_of(const Chunk& c, const KeyBlock& block, int64_t row) const {
    return std::min(block.count, key_limit(problem_, c.first + row) - block.first);
  }

  void prefetch(const Chunk& c, int64_t key) const {
    const int64_t count = std::min(kKeyBlock, problem_.keys - key), h = c.h / problem_.group;
    prefetch_rows(k_.row(c.n, h, key), k_.row_stride, count, problem_.width);
    prefetch_rows(v_.row(c.n, h, key), v_.row_stride, count, problem_.value_width);
  }

  void pack(const Chunk& c, KeyBlock* block) const {
    const int64_t h = c.h / problem_.group;
    const In* const k = k_.row(c.n, h, block->first);
    if constexpr (std::is_same_v<In, Word>)
      block->k = {k, k_.row_stride, true};
    else
      block->k =
          Products::left_rows(k, k_.row_stride, block->count, problem_.width, T(1), false, c.keys);
    if (!takes_dots(c))
      pack_panels_transposed(block->k.data, block->k.stride, block->count,
                             Products::words(problem_.width), c.k);
    block->v = Products::right_rows(v_.row(c.n, h, block->first), v_.row_stride, block->count,
                                    problem_.value_width, has_zero_weights_, c.rows, c.v);
  }

  // Whether the scores are dot products with the keys where they lie: for few queries, as of a
  // decoder, packing them costs more than it saves.
  bool takes_dots(const Chunk& c) const {
    return std::is_same_v<T, Word> && c.rows <= kFewRows && problem_.width % lanes<T>() == 0;
  }

  // s [rows][kScoresStride] = the scores of rows [begin, end) of the chunk, as far as they see
  // keys.
  void score(const Chunk& c, const KeyBlock& block, int64_t begin, int64_t end, T* s) const {
    if constexpr (std::is_same_v<T, Word>) {
      if (takes_dots(c)) {
        std::fill_n(s, (end - begin) * kScoresStride<T>, T(0));
        accumulate_dots<T>(end - begin, block.count, problem_.width / lanes<T>(),
                           c.q.from(begin).data, c.q.stride, block.k.data, block.k.stride, s,
                           kScoresStride<T>);
        return;
      }
    }
    multiply_panels<Products>(
        c.q, begin, end, Products::words(problem_.width), c.k, block.count, score_factor_,
        [&](int64_t row) { return keys_of(c, block, row); }, s);
  }

  // Rows [begin, end) of the chunk.
  void attend_block(const Chunk& c, const KeyBlock& block, int64_t begin, int64_t end,
                    BlockMask block_mask) const {
    score(c, block, begin, end, c.p);
    softmax(c, block, begin, end, block_mask);
    const int64_t ldo = padded<T>(problem_.value_width);
    constexpr int64_t kStride = kScoresStride<T> / Products::kDepth;
    for_row_tiles(begin, end, [&](int64_t first, int64_t rows) {
      const int64_t count = keys_of(c, block, first + rows - 1);
      if (count <= 0) return;
      const Word* const p =
          Products::left_of(c.p + (first - begin) * kScoresStride<T>, rows,
                            round_up(count, lanes<T>()), c.p_left + (first - begin) * kStride);
      Products::add({p, kStride, 1}, rows, Products::words(count), block.v, c.o + first * ldo, ldo);
    });
  }

  // The scores of rows [begin, end) become weights; updates m and l, and rescales o.
  void softmax(const Chunk& c, const KeyBlock& block, int64_t begin, int64_t end,
               BlockMask block_mask) const {
    // Whole vectors, of which those after the last row are not used.
    alignas(64) T shift[kQueryBlock + lanes<T>()], factor[kQueryBlock + lanes<T>()];
    T* const m = c.m + begin;
    std::copy_n(m, end - begin, shift);
    for_tile_rows(c, block, begin, end, [&](int64_t r, int64_t width) {
      T* const s = c.p + (r - begin) * kScoresStride<T>;
      const int64_t count = std::max<int64_t>(keys_of(c, block, r), 0);
      if (block_mask == BlockMask::partial)
        mask_.apply(c.n, c.h, c.first + r, block.first, count, s);
      mask_tail(s, count, width);
      shift[r - begin] = std::max(shift[r - begin], row_max(s, width));
    });
    for (int64_t i = 0; i < end - begin; i += lanes<T>()) {
      const Vec<T> masked(kMasked<T>), most = Vec<T>::loadu(shift + i);
      // Of a row that has seen no key yet the weights are 2^(-inf - 0), which is 0.
      const Vec<T> from = Vec<T>::blendv(most, Vec<T>(T(0)), most == masked);
      exp2(Vec<T>::loadu(m + i) - from).store(factor + i);
      most.store(m + i, static_cast<int>(std::min(lanes<T>(), end - begin - i)));
      from.store(shift + i);
    }
    for_tile_rows(c, block, begin, end, [&](int64_t r, int64_t width) {
      T* const s = c.p + (r - begin) * kScoresStride<T>;
      const T sum = exp2_row(s, width, shift[r - begin]);
      c.l[r] = c.l[r] * factor[r - begin] + sum;
      if (factor[r - begin] != T(1)) rescale(c, r, factor[r - begin]);
      if (problem_.dropout > 0) drop(c, block, r, width, s);
    });
  }

  // body(row, width) for rows that see keys of the block; `width` whole vectors are the tile's.
  template <class Body>
  void for_tile_rows(const Chunk& c, const KeyBlock& block, int64_t begin, int64_t end,
                     const Body& body) const {
    for_row_tiles(begin, end, [&](int64_t first, int64_t rows) {
      const int64_t count = keys_of(c, block, first + rows - 1);
      for (int64_t r = first; count > 0 && r < first + rows; ++r)
        body(r, round_up(count, lanes<T>()));
    });
  }

  static T row_max(const T* s, int64_t width) {
    Vec<T> most = Vec<T>::loadu(s);
    for (int64_t j = lanes<T>(); j < width; j += lanes<T>())
      most = at::vec::clamp_min(Vec<T>::loadu(s + j), most);
    return at::vec::vec_reduce_all<T>([](Vec<T> a, Vec<T> b) { return at::vec::clamp_min(a, b); },
                                      most);
  }

  // s = 2^(s - shift); returns the sum.
  static T exp2_row(T* s, int64_t width, T shift) {
    Vec<T> sum(T(0));
    for (int64_t j = 0; j < width; j += lanes<T>()) {
      const Vec<T> weight = exp2(Vec<T>::loadu(s + j) - Vec<T>(shift));
      sum = sum + weight;
      weight.store(s + j);
    }
    return lane_sum(sum);
  }

  void rescale(const Chunk& c, int64_t r, T factor) const {
    const int64_t ldo = padded<T>(problem_.value_width);
    T* const o = c.o + r * ldo;
    for (int64_t e = 0; e < ldo; e += lanes<T>())
      (Vec<T>::loadu(o + e) * Vec<T>(factor)).store(o + e);
  }

  void drop(const Chunk& c, const KeyBlock& block, int64_t r, int64_t width, T* p) const {
    alignas(64) T factors[kKeyBlock];
    dropout_factors(dropout_, (c.n * problem_.heads + c.h) * problem_.queries + c.first + r,
                    block.first, width, factors);
    for (int64_t j = 0; j < width; j += lanes<T>())
      (Vec<T>::loadu(p + j) * Vec<T>::loadu(factors + j)).store(p + j);
  }

  Problem problem_;
  Heads<const In> q_, k_, v_;
  Heads<In> out_;
  Mask<T> mask_;
  Dropout dropout_;
  T* lse_;
  bool has_zero_weights_;
  T score_factor_;
};

}  // namespace pyneural::attention::cpu
