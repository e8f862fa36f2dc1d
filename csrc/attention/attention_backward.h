// The backward of attention on the CPU (Dao 2023, algorithm 2).
//
// Notation of notation.h; dO is grad_out. Where the scores are not scaled, the keys come as
// k' = scale log2(e) k; then, with ds' = ln(2) ds, dq = ds' k' and dk = scale log2(e) ds'^T q, and
// neither q nor dq is multiplied by the scale.
//
// A task is a segment of the keys of one of their heads: it passes over its blocks of keys and, for
// each, over the blocks of queries that see it, in all heads that share it. Tasks write to
// different memory: those of the same head have a dq each, and these are added in a fixed order at
// the end, so that the result is the same on every run with the same number of threads.
#pragma once

#include <memory>
#include <vector>

#include "../common/exponential.h"
#include "../common/parallel.h"
#include "products.h"

namespace pyneural::attention::cpu {

struct Gradients {
  at::Tensor q, k, v;  // undefined where not wanted
};

template <class Products>
class Backward {
 public:
  using In = typename Products::In;
  using T = typename Products::T;
  using Word = typename Products::Word;

  // lse [N, H, L] is contiguous.
  Backward(const Problem& problem, const Arguments& a, const Dropout& dropout,
           const at::Tensor& grad_out, const at::Tensor& out, const T* lse,
           const Gradients& gradients)
      : problem_(problem),
        q_(a.q),
        k_(a.k),
        v_(a.v),
        grad_out_(grad_out),
        out_(out),
        mask_(a.mask, problem),
        dropout_(dropout),
        lse_(lse),
        gradients_(gradients),
        ldq_(padded<T>(problem.width)),
        ldv_(padded<T>(problem.value_width)) {
    has_zero_weights_ = a.mask || problem.is_causal || problem.dropout > 0;
    score_factor_ = scale() * kLog2E<T>;
  }

  void run() {
    const int64_t heads = problem_.batch * problem_.key_heads();
    const double work = static_cast<double>(problem_.batch * problem_.heads) *
                        static_cast<double>(problem_.queries) * static_cast<double>(problem_.keys) *
                        static_cast<double>(3 * problem_.width + 2 * problem_.value_width);
    const int64_t threads = useful_threads(work);
    const int64_t blocks = (problem_.keys + kKeyBlock - 1) / kKeyBlock;
    const bool is_even = heads % threads == 0 || heads >= 4 * threads;
    segments_ = is_even ? 1 : std::min(threads, blocks);
    find_deltas(threads);
    if (gradients_.q.defined()) begin_grad_q();
    parallel_tasks(heads * segments_, threads, [&](int64_t task) {
      const int64_t head = task % heads, segment = task / heads;
      run_segment(head / problem_.key_heads(), head % problem_.key_heads(), segment,
                  first_block(segment, blocks), first_block(segment + 1, blocks));
    });
    if (gradients_.q.defined()) finish_grad_q(threads);
  }

 private:
  // Queries that pass a block of keys at a time.
  static constexpr int64_t kQueryBlock = 16 * kTileRows;

  struct Workspace {
    Word *keys, *k, *values, *v;  // left rows [kKeyBlock] and their panels [words(E, Ev)][width]
    Word* k_right;                // panels [words(kKeyBlock)]
    Word *q, *q_right, *grad_o, *grad_o_right;  // left rows and panels [kQueryBlock]
    T *grad_k, *grad_v;                         // [kKeyBlock][ld]
    T *p, *ds;                                  // [kQueryBlock][kScoresStride]
    Word *p_left, *ds_left;                     // the same as left operands
  };
  struct KeyBlock {
    int64_t n, key_head, first, count;
    Panels<Word> k;
  };
  // Queries [first, first + rows) of head h beside a block; dq are their rows of grad_q.
  struct QueryBlock {
    int64_t h, first, rows;
    T* dq;
    int64_t dq_stride;
    Rows<Word> q, grad_o;
    Panels<Word> q_right, grad_o_right;
  };

  T scale() const { return static_cast<T>(problem_.scale); }

  // Causal: early blocks of keys are seen by more queries than late ones, and the segments have
  // about as many scores each.
  int64_t first_block(int64_t segment, int64_t blocks) const {
    if (segment == segments_) return blocks;
    const double share = static_cast<double>(segment) / static_cast<double>(segments_);
    const double part = problem_.is_causal ? 1 - std::sqrt(1 - share) : share;
    return static_cast<int64_t>(part * static_cast<double>(blocks) + 0.5);
  }

  // delta [N, H, L].
  void find_deltas(int64_t threads) {
    const int64_t heads = problem_.batch * problem_.heads, rows = heads * problem_.queries;
    delta_.reset(new T[rows]);
    parallel_chunks(rows, std::min(threads, rows), [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t head = r / problem_.queries, i = r % problem_.queries;
        const int64_t n = head / problem_.heads, h = head % problem_.heads;
        const In *const a = grad_out_.row(n, h, i), *const b = out_.row(n, h, i);
        Vec<T> sum(T(0));
        for (int64_t e = 0; e < problem_.value_width; e += lanes<T>()) {
          const int64_t count = std::min(lanes<T>(), problem_.value_width - e);
          sum = at::vec::fmadd(load_vector<T>(a + e, count), load_vector<T>(b + e, count), sum);
        }
        delta_[r] = lane_sum(sum);
      }
    });
  }

  // The first segment's dq is grad_q itself where its rows are whole vectors of the accumulator
  // type.
  void begin_grad_q() {
    is_direct_ = std::is_same_v<In, T> && problem_.width % lanes<T>() == 0;
    gradients_.q.zero_();
    const int64_t parts = segments_ - (is_direct_ ? 1 : 0);
    if (parts > 0) parts_.reset(new T[parts * part_size()]());
  }
  int64_t part_size() const { return problem_.batch * problem_.heads * problem_.queries * ldq_; }
  T* part(int64_t segment) const {
    return parts_.get() + (segment - (is_direct_ ? 1 : 0)) * part_size();
  }

  void finish_grad_q(int64_t threads) {
    if (is_direct_ && segments_ == 1) return;
    const int64_t rows = problem_.batch * problem_.heads * problem_.queries;
    const Heads<In> to(gradients_.q);
    parallel_chunks(rows, std::min(threads, rows), [&](int64_t, int64_t begin, int64_t end) {
      Scratch scratch;
      T* const sum = scratch.take<T>(ldq_);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t head = r / problem_.queries;
        In* const row = to.row(head / problem_.heads, head % problem_.heads, r % problem_.queries);
        load_rows(row, 0, 1, problem_.width, T(1), sum);
        for (int64_t s = is_direct_ ? 1 : 0; s < segments_; ++s)
          for (int64_t e = 0; e < ldq_; e += lanes<T>())
            (Vec<T>::loadu(sum + e) + Vec<T>::loadu(part(s) + r * ldq_ + e)).store(sum + e);
        store_row(sum, problem_.width, Products::kScalesScores ? scale() : T(1), row);
      }
    });
  }

  void run_segment(int64_t n, int64_t key_head, int64_t segment, int64_t first_block,
                   int64_t last_block) const {
    Scratch scratch;
    Workspace work;
    const int64_t left_q = Products::left_stride(problem_.width),
                  left_v = Products::left_stride(problem_.value_width),
                  panels = round_up(kKeyBlock, panel_width<T>());
    work.keys = scratch.take<Word>(kKeyBlock * left_q);
    work.values = scratch.take<Word>(kKeyBlock * left_v);
    work.k = scratch.take<Word>(panels * Products::words(problem_.width));
    work.v = scratch.take<Word>(panels * Products::words(problem_.value_width));
    work.k_right = scratch.take<Word>(panels_size<T>(Products::words(kKeyBlock), problem_.width));
    work.q = scratch.take<Word>(kQueryBlock * left_q);
    work.q_right = scratch.take<Word>(panels_size<T>(Products::words(kQueryBlock), problem_.width));
    work.grad_o = scratch.take<Word>(kQueryBlock * left_v);
    work.grad_o_right =
        scratch.take<Word>(panels_size<T>(Products::words(kQueryBlock), problem_.value_width));
    work.grad_k = scratch.take<T>(kKeyBlock * ldq_);
    work.grad_v = scratch.take<T>(kKeyBlock * ldv_);
    work.p = scratch.take<T>(kQueryBlock * kScoresStride<T>);
    work.ds = scratch.take<T>(kQueryBlock * kScoresStride<T>);
    work.p_left = scratch.take<Word>(kQueryBlock * Products::words(kScoresStride<T>));
    work.ds_left = scratch.take<Word>(kQueryBlock * Products::words(kScoresStride<T>));
    for (int64_t b = first_block; b < last_block; ++b) {
      const int64_t key = b * kKeyBlock;
      run_block(work, {n, key_head, key, std::min(kKeyBlock, problem_.keys - key), {}}, segment);
    }
  }

  void run_block(const Workspace& work, KeyBlock block, int64_t segment) const {
    const In* const k = k_.row(block.n, block.key_head, block.first);
    const In* const v = v_.row(block.n, block.key_head, block.first);
    const Rows<Word> keys = Products::left_rows(k, k_.row_stride, block.count, problem_.width,
                                                score_factor_, has_zero_weights_, work.keys);
    const Rows<Word> values = Products::left_rows(v, v_.row_stride, block.count,
                                                  problem_.value_width, T(1), false, work.values);
    block.k = Products::right_of(keys, k, k_.row_stride, block.count, problem_.width,
                                 has_zero_weights_, work.k_right);
    pack_panels_transposed(keys.data, keys.stride, block.count, Products::words(problem_.width),
                           work.k);
    pack_panels_transposed(values.data, values.stride, block.count,
                           Products::words(problem_.value_width), work.v);
    std::fill_n(work.grad_k, block.count * ldq_, T(0));
    std::fill_n(work.grad_v, block.count * ldv_, T(0));
    // Queries before the block's first key do not see it.
    const int64_t start = problem_.is_causal ? std::min(block.first, problem_.queries) : 0;
    const int64_t blocks = (problem_.queries - start + kQueryBlock - 1) / kQueryBlock;
    for (int64_t g = 0; g < problem_.group; ++g)
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t first = start + begin_of_part(i, blocks, problem_.queries - start),
                      last = start + begin_of_part(i + 1, blocks, problem_.queries - start);
        run_query_block(
            work, block,
            query_block(block.n, block.key_head * problem_.group + g, first, last, segment));
      }
    if (gradients_.k.defined()) {
      const Heads<In> to(gradients_.k);
      for (int64_t j = 0; j < block.count; ++j)
        store_row(work.grad_k + j * ldq_, problem_.width,
                  Products::kScalesScores ? scale() : score_factor_,
                  to.row(block.n, block.key_head, block.first + j));
    }
    if (gradients_.v.defined()) {
      const Heads<In> to(gradients_.v);
      for (int64_t j = 0; j < block.count; ++j)
        store_row(work.grad_v + j * ldv_, problem_.value_width, T(1),
                  to.row(block.n, block.key_head, block.first + j));
    }
  }

  QueryBlock query_block(int64_t n, int64_t h, int64_t first, int64_t last, int64_t segment) const {
    QueryBlock g{h, first, last - first, nullptr, ldq_};
    if (!gradients_.q.defined()) return g;
    if constexpr (std::is_same_v<In, T>) {
      if (is_direct_ && segment == 0) {
        const Heads<T> to(gradients_.q);
        g.dq = to.row(n, h, first);
        g.dq_stride = to.row_stride;
        return g;
      }
    }
    g.dq = part(segment) + ((n * problem_.heads + h) * problem_.queries + first) * ldq_;
    return g;
  }

  // How many keys of the block a row of the query block may see.
  int64_t keys_of(const KeyBlock& block, const QueryBlock& g, int64_t row) const {
    return std::min(block.count, key_limit(problem_, g.first + row) - block.first);
  }

  void run_query_block(const Workspace& work, const KeyBlock& block, QueryBlock g) const {
    const int64_t max_keys = keys_of(block, g, g.rows - 1);
    const BlockMask block_mask =
        mask_.block_mask(block.n, g.h, g.first, g.rows, block.first, max_keys);
    if (block_mask == BlockMask::empty) return;
    const In *const q = q_.row(block.n, g.h, g.first), *const grad_o =
                                                           grad_out_.row(block.n, g.h, g.first);
    g.q = Products::left_rows(q, q_.row_stride, g.rows, problem_.width, T(1), has_zero_weights_,
                              work.q);
    g.q_right = Products::right_of(g.q, q, q_.row_stride, g.rows, problem_.width, has_zero_weights_,
                                   work.q_right);
    g.grad_o = Products::left_rows(grad_o, grad_out_.row_stride, g.rows, problem_.value_width, T(1),
                                   has_zero_weights_, work.grad_o);
    g.grad_o_right = Products::right_of(g.grad_o, grad_o, grad_out_.row_stride, g.rows,
                                        problem_.value_width, has_zero_weights_, work.grad_o_right);
    const auto limit = [&](int64_t row) { return keys_of(block, g, row); };
    multiply_panels<Products>(g.q, 0, g.rows, Products::words(problem_.width), work.k, block.count,
                              score_factor_, limit, work.p);
    multiply_panels<Products>(g.grad_o, 0, g.rows, Products::words(problem_.value_width), work.v,
                              block.count, T(1), limit, work.ds);
    constexpr int64_t kStride = kScoresStride<T> / Products::kDepth;
    for_row_tiles(0, g.rows, [&](int64_t first, int64_t rows) {
      const int64_t count = std::max<int64_t>(keys_of(block, g, first + rows - 1), 0);
      for (int64_t r = first; r < first + rows; ++r)
        softmax_gradient(block, g, r, round_up(count, lanes<T>()), round_up(max_keys, lanes<T>()),
                         block_mask, work.p + r * kScoresStride<T>, work.ds + r * kScoresStride<T>);
      if (!g.dq || count == 0) return;
      const Word* const ds = Products::left_of(work.ds + first * kScoresStride<T>, rows,
                                               round_up(count, lanes<T>()), work.ds_left);
      Products::add({ds, kStride, 1}, rows, Products::words(count), block.k,
                    g.dq + first * g.dq_stride, g.dq_stride);
    });
    const Word *const p_left = Products::left_transposed(
                          work.p, g.rows, round_up(max_keys, lanes<T>()), work.p_left),
                      *const ds_left = Products::left_transposed(
                          work.ds, g.rows, round_up(max_keys, lanes<T>()), work.ds_left);
    for_row_tiles(0, max_keys, [&](int64_t first, int64_t keys) {
      // From the first row that sees the first of these keys, in words.
      const int64_t row = problem_.is_causal ? std::max<int64_t>(block.first + first - g.first, 0) /
                                                   Products::kDepth
                                             : 0;
      const int64_t depth = Products::words(g.rows) - row, at = row * kScoresStride<T> + first;
      if (gradients_.v.defined())
        Products::add({p_left + at, 1, kScoresStride<T>}, keys, depth, g.grad_o_right.from(row),
                      work.grad_v + first * ldv_, ldv_);
      if (gradients_.k.defined())
        Products::add({ds_left + at, 1, kScoresStride<T>}, keys, depth, g.q_right.from(row),
                      work.grad_k + first * ldq_, ldq_);
    });
  }

  // A row of scores becomes the weights after dropout, z p, and its row of dO v^T becomes ds';
  // zeros follow from `width` to `max_width`.
  void softmax_gradient(const KeyBlock& block, const QueryBlock& g, int64_t r, int64_t width,
                        int64_t max_width, BlockMask block_mask, T* p, T* ds) const {
    const int64_t count = std::max<int64_t>(keys_of(block, g, r), 0), query = g.first + r;
    const int64_t row = (block.n * problem_.heads + g.h) * problem_.queries + query;
    if (block_mask == BlockMask::partial) mask_.apply(block.n, g.h, query, block.first, count, p);
    mask_tail(p, count, width);
    constexpr T kFactor = Products::kScalesScores ? T(1) : kLn2<T>;
    const Vec<T> lse(lse_[row] * kLog2E<T>), delta(delta_[row] * kFactor), factor(kFactor),
        zero(T(0));
    alignas(64) T z[kKeyBlock];
    if (problem_.dropout > 0) dropout_factors(dropout_, row, block.first, width, z);
    for (int64_t j = 0; j < width; j += lanes<T>()) {
      const Vec<T> weight = exp2(Vec<T>::loadu(p + j) - lse);
      Vec<T> dropped = weight, grad = Vec<T>::loadu(ds + j);
      if (problem_.dropout > 0) {
        dropped = weight * Vec<T>::loadu(z + j);
        grad = grad * Vec<T>::loadu(z + j);
      }
      grad = weight * at::vec::fmsub(grad, factor, delta);
      // Where a weight is 0 the gradient may be NaN.
      if (has_zero_weights_) grad = Vec<T>::blendv(grad, zero, weight == zero);
      dropped.store(p + j);
      grad.store(ds + j);
    }
    std::fill(p + width, p + max_width, T(0));
    std::fill(ds + width, ds + max_width, T(0));
  }

  Problem problem_;
  Heads<const In> q_, k_, v_, grad_out_, out_;
  Mask<T> mask_;
  Dropout dropout_;
  const T* lse_;
  Gradients gradients_;
  int64_t ldq_, ldv_;
  int64_t segments_ = 1;
  T score_factor_;
  bool has_zero_weights_, is_direct_ = false;
  std::unique_ptr<T[]> delta_, parts_;
};

}  // namespace pyneural::attention::cpu
