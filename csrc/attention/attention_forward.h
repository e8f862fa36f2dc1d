// The forward of attention on the CPU: tiles of scores with an online softmax (Milakov and
// Gimelshein 2018, Dao et al. 2022).
//
// A task is a chunk of queries of one head. For each block of keys, packed once, the task's groups
// of queries pass: scores s = q k^T (in powers of 2, scale and log2(e) are in q), the row's maximum
// m so far, weights 2^(s - m), their sum l, and o = 2^(m_before - m) o + weights v. A row's numbers
// do not depend on how the queries are cut or on the threads.
#pragma once

#include <cmath>

#include "../common/shares.h"
#include "exp2.h"
#include "operands.h"
#include "scores.h"

namespace pyneural::attention {

template <class In>
class Forward {
 public:
  using T = SumOf<In>;

  // lse [N, H, L] is contiguous, or null.
  Forward(const Problem& p, const Arguments& a, const std::optional<at::Tensor>& mask,
          const Dropout& dropout, const at::Tensor& out, T* lse)
      : p_(p), q_(a.q), k_(a.k), v_(a.v), out_(out), mask_(mask), dropout_(dropout), lse_(lse) {
    has_zero_weights_ = mask || p.is_causal || p.dropout > 0;
    v_lies_ready_ =
        std::is_same_v<In, T> && p.value_width % lanes<T>() == 0 && v_.row_stride == p.value_width;
  }

  void run() {
    const double work = static_cast<double>(p_.batch * p_.heads) * static_cast<double>(p_.queries) *
                        static_cast<double>(p_.keys) *
                        static_cast<double>(p_.width + p_.value_width + kSoftmaxWork);
    const int64_t threads = useful_threads(work);
    const int64_t chunks = chunks_of_head(threads);
    // Causal: the last chunks have the most keys, and go first.
    for_tasks(p_.batch * p_.heads * chunks, threads, [&](int64_t task) {
      const int64_t head = task % (p_.batch * p_.heads),
                    chunk = chunks - 1 - task / (p_.batch * p_.heads);
      attend(head / p_.heads, head % p_.heads, chunk * p_.queries / chunks,
             (chunk + 1) * p_.queries / chunks);
    });
  }

 private:
  // Rows whose scores are held at a time, and of a task at most.
  static constexpr int64_t kGroup = 8 * kTileRows, kMostRows = 8 * kGroup;
  static constexpr int64_t kChunkElements = 1 << 16;  // of q and o: they stay in the cache
  static constexpr int64_t kSoftmaxWork = 16;         // of a score, in multiply-adds

  // What a task keeps: letters as above, R its rows.
  struct Chunk {
    int64_t n, h, first, rows;
    T *q, *o;         // [R][padded(E)], [R][padded(Ev)]
    T *m, *l;         // [R]
    T *keys, *k, *v;  // [kKeyBlock][padded(E)], its panels [E][width], [kKeyBlock][padded(Ev)]
    T* s;             // [kGroup][kKeyBlock]
  };
  // A block of keys of a chunk, packed.
  struct Block {
    int64_t first, count;
    const T* v;
    bool v_is_finite;
  };

  int64_t chunks_of_head(int64_t threads) const {
    const int64_t row = padded<T>(p_.width) + padded<T>(p_.value_width);
    const int64_t fit = std::max(kGroup, kChunkElements / row / kGroup * kGroup);
    const int64_t heads = p_.batch * p_.heads;
    const auto up = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    // Enough tasks to keep all threads busy to the end, as far as there are groups.
    const int64_t wanted = threads > 1 ? up(4 * threads, heads) : 1;
    return std::max(up(p_.queries, std::min(fit, kMostRows)),
                    std::min(wanted, up(p_.queries, kGroup)));
  }

  void attend(int64_t n, int64_t h, int64_t first, int64_t last) const {
    Scratch scratch;
    const int64_t rows = last - first, ldq = padded<T>(p_.width), ldo = padded<T>(p_.value_width);
    Chunk c{n, h, first, rows};
    c.q = scratch.take<T>(rows * ldq);
    c.o = scratch.take<T>(rows * ldo);
    c.m = scratch.take<T>(rows);
    c.l = scratch.take<T>(rows);
    c.keys = scratch.take<T>(kKeyBlock * ldq);
    c.k = scratch.take<T>(round_up(kKeyBlock, panel_width<T>()) * p_.width);
    c.v = scratch.take<T>(kKeyBlock * ldo);
    c.s = scratch.take<T>(kGroup * kKeyBlock);
    load_rows(q_.row(n, h, first), q_.row_stride, rows, p_.width,
              static_cast<T>(p_.scale) * kLog2E<T>, c.q);
    std::fill_n(c.o, rows * ldo, T(0));
    std::fill_n(c.m, rows, kMasked<T>);
    std::fill_n(c.l, rows, T(0));
    const int64_t groups = (rows + kGroup - 1) / kGroup, seen = key_limit(p_, last - 1);
    for (int64_t key = 0; key < seen; key += kKeyBlock) {
      Block block{key, std::min(kKeyBlock, seen - key), nullptr, true};
      bool is_packed = false;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t begin = g * rows / groups, end = (g + 1) * rows / groups;
        const int64_t count = keys_of(c, block, end - 1);
        if (count <= 0) continue;
        const Share share = mask_.share(n, h, first + begin, end - begin, key, count);
        if (share == Share::none) continue;
        if (!is_packed) pack(c, &block);
        is_packed = true;
        attend_group(c, block, begin, end, share);
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      // Not l > 0: a NaN must stay one.
      const T factor = c.l[r] == T(0) ? T(0) : T(1) / c.l[r];
      store_row(c.o + r * ldo, p_.value_width, factor, out_.row(n, h, first + r));
      if (lse_)
        lse_[(n * p_.heads + h) * p_.queries + first + r] =
            c.l[r] == T(0) ? -kMasked<T> : (c.m[r] + std::log2(c.l[r])) / kLog2E<T>;
    }
  }

  // How many keys of the block a row of the chunk may see.
  int64_t keys_of(const Chunk& c, const Block& block, int64_t row) const {
    return std::min(block.count, key_limit(p_, c.first + row) - block.first);
  }

  void pack(const Chunk& c, Block* block) const {
    const int64_t h = c.h / p_.group;
    load_rows(k_.row(c.n, h, block->first), k_.row_stride, block->count, p_.width, T(1), c.keys);
    pack_panels_transposed(c.keys, block->count, p_.width, c.k);
    const In* const v = v_.row(c.n, h, block->first);
    if (!v_lies_ready_) {
      block->v_is_finite = load_rows(v, v_.row_stride, block->count, p_.value_width, T(1), c.v);
      block->v = c.v;
    } else if constexpr (std::is_same_v<In, T>) {
      block->v_is_finite = !has_zero_weights_ || is_finite(v, block->count * p_.value_width);
      block->v = v;
    }
    block->v_is_finite |= !has_zero_weights_;
  }

  // Rows [begin, end) of the chunk.
  void attend_group(const Chunk& c, const Block& block, int64_t begin, int64_t end,
                    Share share) const {
    const int64_t ldq = padded<T>(p_.width), ldo = padded<T>(p_.value_width);
    T* const s = c.s - begin * kKeyBlock;
    for (int64_t key = 0; key < block.count; key += panel_width<T>())
      for_row_tiles(begin, end, [&](int64_t first, int64_t rows) {
        const int64_t count = keys_of(c, block, first + rows - 1) - key;
        if (count <= 0) return;
        const int64_t vectors =
            std::min<int64_t>(kTileVectors, (count + lanes<T>() - 1) / lanes<T>());
        multiply<T>({c.q + first * ldq, ldq, 1}, rows, p_.width,
                    {c.k + key * p_.width, panel_width<T>(), vectors}, s + first * kKeyBlock + key,
                    kKeyBlock);
      });
    for_row_tiles(begin, end, [&](int64_t first, int64_t rows) {
      const int64_t count = keys_of(c, block, first + rows - 1);
      if (count <= 0) return;
      for (int64_t r = first; r < first + rows; ++r)
        weigh(c, block, r, round_up(count, lanes<T>()), share, s + r * kKeyBlock);
      add_product<T>({s + first * kKeyBlock, kKeyBlock, 1}, rows, count, block.v, ldo,
                     block.v_is_finite, c.o + first * ldo, ldo);
    });
  }

  // Scores of a row become weights; m, l and o follow. `width` whole vectors are written.
  void weigh(const Chunk& c, const Block& block, int64_t r, int64_t width, Share share,
             T* s) const {
    const int64_t count = std::max<int64_t>(keys_of(c, block, r), 0);
    if (share == Share::some) mask_.apply(c.n, c.h, c.first + r, block.first, count, s);
    std::fill(s + count, s + width, kMasked<T>);
    Vec<T> most = Vec<T>::loadu(s);
    for (int64_t j = lanes<T>(); j < width; j += lanes<T>())
      most = at::vec::clamp_min(Vec<T>::loadu(s + j), most);
    const T before = c.m[r];
    c.m[r] =
        std::max(before, at::vec::vec_reduce_all<T>(
                             [](Vec<T> a, Vec<T> b) { return at::vec::clamp_min(a, b); }, most));
    // A row that has seen no key yet: 2^(-inf - 0) is 0, and a NaN stays one.
    const T shift = c.m[r] == kMasked<T> ? T(0) : c.m[r];
    Vec<T> sum(T(0));
    for (int64_t j = 0; j < width; j += lanes<T>()) {
      const Vec<T> weight = exp2(Vec<T>::loadu(s + j) - Vec<T>(shift));
      sum = sum + weight;
      weight.store(s + j);
    }
    if (before != c.m[r]) {
      const T factor = std::exp2(before - shift);
      c.l[r] *= factor;
      T* const o = c.o + r * padded<T>(p_.value_width);
      for (int64_t e = 0; e < padded<T>(p_.value_width); e += lanes<T>())
        (Vec<T>::loadu(o + e) * Vec<T>(factor)).store(o + e);
    }
    c.l[r] += lane_sum(sum);
    if (p_.dropout > 0) {
      alignas(64) T factors[kKeyBlock];
      dropout_factors(dropout_, (c.n * p_.heads + c.h) * p_.queries + c.first + r, block.first,
                      width, factors);
      for (int64_t j = 0; j < width; j += lanes<T>())
        (Vec<T>::loadu(s + j) * Vec<T>::loadu(factors + j)).store(s + j);
    }
  }

  Problem p_;
  Heads<const In> q_, k_, v_;
  Heads<In> out_;
  Mask<T> mask_;
  Dropout dropout_;
  T* lse_;
  bool has_zero_weights_, v_lies_ready_;
};

}  // namespace pyneural::attention
