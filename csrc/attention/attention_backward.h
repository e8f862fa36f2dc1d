// The backward of attention on the CPU (Dao 2023, algorithm 2), with w the weights before dropout
// and f its factors:
//
//   w = 2^(s - lse),  dw = f * (do v^T),  ds = w * (dw - delta),  delta = sum of do * o over Ev,
//   dv = (f * w)^T do,  dk = scale ds^T q,  dq = scale ds k.
//
// Where the scores are not scaled, the keys come as k' = scale log2(e) k; then, with ds' = ln(2)
// ds, dq = ds' k' and dk = scale log2(e) ds'^T q, and neither q nor dq is touched for the scale.
//
// A task is a segment of the keys of one of their heads: for each of its blocks of keys all groups
// of queries that see it pass, of all heads that share it. Tasks write to different places: those
// of the same head have a dq each, which are added in a fixed order at the end, so that the result
// is the same on every run with as many threads.
#pragma once

#include <memory>
#include <vector>

#include "../common/parallel.h"
#include "exp2.h"
#include "products.h"

namespace pyneural::attention {

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
  Backward(const Problem& p, const Arguments& a, const std::optional<at::Tensor>& mask,
           const Dropout& dropout, const at::Tensor& grad_out, const at::Tensor& out, const T* lse,
           const Gradients& gradients)
      : p_(p),
        q_(a.q),
        k_(a.k),
        v_(a.v),
        grad_out_(grad_out),
        out_(out),
        mask_(mask),
        dropout_(dropout),
        lse_(lse),
        gradients_(gradients),
        ldq_(padded<T>(p.width)),
        ldv_(padded<T>(p.value_width)) {
    has_zero_weights_ = mask || p.is_causal || p.dropout > 0;
    score_factor_ = scale() * kLog2E<T>;
  }

  void run() {
    const int64_t heads = p_.batch * p_.key_heads();
    const double work = static_cast<double>(p_.batch * p_.heads) * static_cast<double>(p_.queries) *
                        static_cast<double>(p_.keys) *
                        static_cast<double>(3 * p_.width + 2 * p_.value_width);
    const int64_t threads = useful_threads(work);
    const int64_t blocks = (p_.keys + kKeyBlock - 1) / kKeyBlock;
    const bool is_even = heads % threads == 0 || heads >= 4 * threads;
    segments_ = is_even ? 1 : std::min(threads, blocks);
    find_deltas(threads);
    if (gradients_.q.defined()) begin_grad_q();
    parallel_tasks(heads * segments_, threads, [&](int64_t task) {
      const int64_t head = task % heads, segment = task / heads;
      run_segment(head / p_.key_heads(), head % p_.key_heads(), segment,
                  first_block(segment, blocks), first_block(segment + 1, blocks));
    });
    if (gradients_.q.defined()) finish_grad_q(threads);
  }

 private:
  // Queries that pass a block of keys at a time.
  static constexpr int64_t kGroup = 16 * kTileRows;

  struct Workspace {
    Word *keys, *k, *values, *v;  // left rows [kKeyBlock] and their panels [words(E, Ev)][width]
    Word* k_right;
    Word *q, *q_right, *grad_o, *grad_o_right;  // left and right rows [kGroup]
    T *grad_k, *grad_v;                         // [kKeyBlock][ld]
    T *w, *ds;                                  // [kGroup][kKeyBlock]
    Word *w_left, *ds_left;                     // the same as left operands
  };
  struct Block {
    int64_t n, key_head, first, count;
    Rows<Word> k;  // right
  };
  // Queries [first, first + rows) of head h beside a block; dq are their rows of grad_q.
  struct Group {
    int64_t h, first, rows;
    T* dq;
    int64_t dq_stride;
    Rows<Word> q, q_right, grad_o, grad_o_right;
  };

  T scale() const { return static_cast<T>(p_.scale); }

  // Causal: early blocks of keys are seen by more queries than late ones, and the segments have
  // about as many scores each.
  int64_t first_block(int64_t segment, int64_t blocks) const {
    if (segment == segments_) return blocks;
    const double share = static_cast<double>(segment) / static_cast<double>(segments_);
    const double part = p_.is_causal ? 1 - std::sqrt(1 - share) : share;
    return static_cast<int64_t>(part * static_cast<double>(blocks) + 0.5);
  }

  // delta [N, H, L].
  void find_deltas(int64_t threads) {
    const int64_t heads = p_.batch * p_.heads, rows = heads * p_.queries;
    delta_.reset(new T[rows]);
    parallel_chunks(rows, std::min(threads, rows), [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t head = r / p_.queries, i = r % p_.queries;
        const int64_t n = head / p_.heads, h = head % p_.heads;
        const In *const a = grad_out_.row(n, h, i), *const b = out_.row(n, h, i);
        Vec<T> sum(T(0));
        for (int64_t e = 0; e < p_.value_width; e += lanes<T>()) {
          const int64_t count = std::min(lanes<T>(), p_.value_width - e);
          sum = at::vec::fmadd(load_vector<T>(a + e, count), load_vector<T>(b + e, count), sum);
        }
        delta_[r] = lane_sum(sum);
      }
    });
  }

  // The first segment's dq is grad_q itself where its rows are whole vectors of the accumulator
  // type.
  void begin_grad_q() {
    is_direct_ = std::is_same_v<In, T> && p_.width % lanes<T>() == 0;
    gradients_.q.zero_();
    const int64_t parts = segments_ - (is_direct_ ? 1 : 0);
    if (parts > 0) parts_.reset(new T[parts * part_size()]());
  }
  int64_t part_size() const { return p_.batch * p_.heads * p_.queries * ldq_; }
  T* part(int64_t segment) const {
    return parts_.get() + (segment - (is_direct_ ? 1 : 0)) * part_size();
  }

  void finish_grad_q(int64_t threads) {
    if (is_direct_ && segments_ == 1) return;
    const int64_t rows = p_.batch * p_.heads * p_.queries;
    const Heads<In> to(gradients_.q);
    parallel_chunks(rows, std::min(threads, rows), [&](int64_t, int64_t begin, int64_t end) {
      Scratch scratch;
      T* const sum = scratch.take<T>(ldq_);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t head = r / p_.queries;
        In* const row = to.row(head / p_.heads, head % p_.heads, r % p_.queries);
        load_rows(row, 0, 1, p_.width, T(1), sum);
        for (int64_t s = is_direct_ ? 1 : 0; s < segments_; ++s)
          for (int64_t e = 0; e < ldq_; e += lanes<T>())
            (Vec<T>::loadu(sum + e) + Vec<T>::loadu(part(s) + r * ldq_ + e)).store(sum + e);
        store_row(sum, p_.width, Products::kScalesScores ? scale() : T(1), row);
      }
    });
  }

  void run_segment(int64_t n, int64_t key_head, int64_t segment, int64_t first_block,
                   int64_t last_block) const {
    Scratch scratch;
    Workspace w;
    const int64_t left_q = Products::left_stride(p_.width),
                  left_v = Products::left_stride(p_.value_width),
                  panels = round_up(kKeyBlock, panel_width<T>());
    w.keys = scratch.take<Word>(kKeyBlock * left_q);
    w.values = scratch.take<Word>(kKeyBlock * left_v);
    w.k = scratch.take<Word>(panels * Products::words(p_.width));
    w.v = scratch.take<Word>(panels * Products::words(p_.value_width));
    w.k_right = scratch.take<Word>(Products::words(kKeyBlock) * ldq_);
    w.q = scratch.take<Word>(kGroup * left_q);
    w.q_right = scratch.take<Word>(Products::words(kGroup) * ldq_);
    w.grad_o = scratch.take<Word>(kGroup * left_v);
    w.grad_o_right = scratch.take<Word>(Products::words(kGroup) * ldv_);
    w.grad_k = scratch.take<T>(kKeyBlock * ldq_);
    w.grad_v = scratch.take<T>(kKeyBlock * ldv_);
    w.w = scratch.take<T>(kGroup * kKeyBlock);
    w.ds = scratch.take<T>(kGroup * kKeyBlock);
    w.w_left = scratch.take<Word>(kGroup * Products::words(kKeyBlock));
    w.ds_left = scratch.take<Word>(kGroup * Products::words(kKeyBlock));
    for (int64_t b = first_block; b < last_block; ++b) {
      const int64_t key = b * kKeyBlock;
      run_block(w, {n, key_head, key, std::min(kKeyBlock, p_.keys - key), {}}, segment);
    }
  }

  void run_block(const Workspace& w, Block block, int64_t segment) const {
    const In* const k = k_.row(block.n, block.key_head, block.first);
    const In* const v = v_.row(block.n, block.key_head, block.first);
    const Rows<Word> keys = Products::left_rows(k, k_.row_stride, block.count, p_.width,
                                                score_factor_, has_zero_weights_, w.keys);
    const Rows<Word> values =
        Products::left_rows(v, v_.row_stride, block.count, p_.value_width, T(1), false, w.values);
    block.k = Products::right_of(keys, k, k_.row_stride, block.count, p_.width, has_zero_weights_,
                                 w.k_right);
    pack_panels_transposed(keys.data, keys.stride, block.count, Products::words(p_.width), w.k);
    pack_panels_transposed(values.data, values.stride, block.count, Products::words(p_.value_width),
                           w.v);
    std::fill_n(w.grad_k, block.count * ldq_, T(0));
    std::fill_n(w.grad_v, block.count * ldv_, T(0));
    // Queries before the block's first key do not see it.
    const int64_t start = p_.is_causal ? std::min(block.first, p_.queries) : 0;
    const int64_t groups = (p_.queries - start + kGroup - 1) / kGroup;
    for (int64_t g = 0; g < p_.group; ++g)
      for (int64_t i = 0; i < groups; ++i) {
        const int64_t first = start + i * (p_.queries - start) / groups,
                      last = start + (i + 1) * (p_.queries - start) / groups;
        run_group(w, block, group(block.n, block.key_head * p_.group + g, first, last, segment));
      }
    if (gradients_.k.defined()) {
      const Heads<In> to(gradients_.k);
      for (int64_t j = 0; j < block.count; ++j)
        store_row(w.grad_k + j * ldq_, p_.width, Products::kScalesScores ? scale() : score_factor_,
                  to.row(block.n, block.key_head, block.first + j));
    }
    if (gradients_.v.defined()) {
      const Heads<In> to(gradients_.v);
      for (int64_t j = 0; j < block.count; ++j)
        store_row(w.grad_v + j * ldv_, p_.value_width, T(1),
                  to.row(block.n, block.key_head, block.first + j));
    }
  }

  Group group(int64_t n, int64_t h, int64_t first, int64_t last, int64_t segment) const {
    Group g{h, first, last - first, nullptr, ldq_, {}, {}, {}, {}};
    if (!gradients_.q.defined()) return g;
    if constexpr (std::is_same_v<In, T>) {
      if (is_direct_ && segment == 0) {
        const Heads<T> to(gradients_.q);
        g.dq = to.row(n, h, first);
        g.dq_stride = to.row_stride;
        return g;
      }
    }
    g.dq = part(segment) + ((n * p_.heads + h) * p_.queries + first) * ldq_;
    return g;
  }

  // How many keys of the block a row of the group may see.
  int64_t keys_of(const Block& block, const Group& g, int64_t row) const {
    return std::min(block.count, key_limit(p_, g.first + row) - block.first);
  }

  void run_group(const Workspace& w, const Block& block, Group g) const {
    const int64_t max_keys = keys_of(block, g, g.rows - 1);
    const BlockMask block_mask =
        mask_.block_mask(block.n, g.h, g.first, g.rows, block.first, max_keys);
    if (block_mask == BlockMask::empty) return;
    const In *const q = q_.row(block.n, g.h, g.first), *const grad_o =
                                                           grad_out_.row(block.n, g.h, g.first);
    g.q = Products::left_rows(q, q_.row_stride, g.rows, p_.width, T(1), has_zero_weights_, w.q);
    g.q_right =
        Products::right_of(g.q, q, q_.row_stride, g.rows, p_.width, has_zero_weights_, w.q_right);
    g.grad_o = Products::left_rows(grad_o, grad_out_.row_stride, g.rows, p_.value_width, T(1),
                                   has_zero_weights_, w.grad_o);
    g.grad_o_right = Products::right_of(g.grad_o, grad_o, grad_out_.row_stride, g.rows,
                                        p_.value_width, has_zero_weights_, w.grad_o_right);
    multiply_keys(block, g, g.q, w.k, p_.width, score_factor_, w.w);
    multiply_keys(block, g, g.grad_o, w.v, p_.value_width, T(1), w.ds);
    constexpr int64_t kStride = kKeyBlock / Products::kDepth;
    for_row_tiles(0, g.rows, [&](int64_t first, int64_t rows) {
      const int64_t count = std::max<int64_t>(keys_of(block, g, first + rows - 1), 0);
      for (int64_t r = first; r < first + rows; ++r)
        softmax_gradient(block, g, r, round_up(count, lanes<T>()), round_up(max_keys, lanes<T>()),
                         block_mask, w.w + r * kKeyBlock, w.ds + r * kKeyBlock);
      if (!g.dq || count == 0) return;
      const Word* const ds =
          Products::left_of(w.ds + first * kKeyBlock, rows, round_up(count, lanes<T>()), w.ds_left);
      Products::add({ds, kStride, 1}, rows, Products::words(count), block.k,
                    g.dq + first * g.dq_stride, g.dq_stride);
    });
    const Word *const w_left = Products::left_transposed(w.w, g.rows,
                                                         round_up(max_keys, lanes<T>()), w.w_left),
                      *const ds_left = Products::left_transposed(
                          w.ds, g.rows, round_up(max_keys, lanes<T>()), w.ds_left);
    for_row_tiles(0, max_keys, [&](int64_t first, int64_t keys) {
      // From the first row that sees the first of these keys, in words.
      const int64_t row =
          p_.is_causal ? std::max<int64_t>(block.first + first - g.first, 0) / Products::kDepth : 0;
      const int64_t depth = Products::words(g.rows) - row, at = row * kKeyBlock + first;
      if (gradients_.v.defined())
        Products::add({w_left + at, 1, kKeyBlock}, keys, depth, g.grad_o_right.from(row),
                      w.grad_v + first * ldv_, ldv_);
      if (gradients_.k.defined())
        Products::add({ds_left + at, 1, kKeyBlock}, keys, depth, g.q_right.from(row),
                      w.grad_k + first * ldq_, ldq_);
    });
  }

  // c [rows][kKeyBlock] = factor a [rows][width] times the panels, as far as a row sees keys.
  void multiply_keys(const Block& block, const Group& g, const Rows<Word>& a, const Word* panels,
                     int64_t width, T factor, T* c) const {
    const int64_t depth = Products::words(width);
    for (int64_t key = 0; key < block.count; key += panel_width<T>())
      for_row_tiles(0, g.rows, [&](int64_t first, int64_t rows) {
        const int64_t count = keys_of(block, g, first + rows - 1) - key;
        if (count <= 0) return;
        const int64_t vectors =
            std::min<int64_t>(kTileVectors, (count + lanes<T>() - 1) / lanes<T>());
        Products::multiply({a.from(first).data, a.stride, 1}, rows, depth,
                           {panels + key * depth, panel_width<T>(), vectors}, factor,
                           c + first * kKeyBlock + key, kKeyBlock);
      });
  }

  // A row's scores and do v^T become f * w and ds'; zeros follow from `width` to `max_keys`.
  void softmax_gradient(const Block& block, const Group& g, int64_t r, int64_t width,
                        int64_t max_keys, BlockMask block_mask, T* w, T* ds) const {
    const int64_t count = std::max<int64_t>(keys_of(block, g, r), 0);
    const int64_t query = g.first + r, row = (block.n * p_.heads + g.h) * p_.queries + query;
    if (block_mask == BlockMask::partial) mask_.apply(block.n, g.h, query, block.first, count, w);
    mask_tail(w, count, width);
    constexpr T kFactor = Products::kScalesScores ? T(1) : static_cast<T>(std::numbers::ln2);
    const Vec<T> shift(lse_[row] * kLog2E<T>), delta(delta_[row] * kFactor), factor(kFactor),
        zero(T(0));
    alignas(64) T factors[kKeyBlock];
    if (p_.dropout > 0) dropout_factors(dropout_, row, block.first, width, factors);
    for (int64_t j = 0; j < width; j += lanes<T>()) {
      Vec<T> weight = exp2(Vec<T>::loadu(w + j) - shift), grad = Vec<T>::loadu(ds + j);
      Vec<T> dropped_weight = weight;
      if (p_.dropout > 0) {
        const Vec<T> dropped = Vec<T>::loadu(factors + j);
        dropped_weight = weight * dropped;
        grad = grad * dropped;
      }
      grad = weight * at::vec::fmsub(grad, factor, delta);
      // Where a weight is 0 the gradient may be NaN.
      if (has_zero_weights_) grad = Vec<T>::blendv(grad, zero, weight == zero);
      dropped_weight.store(w + j);
      grad.store(ds + j);
    }
    std::fill(w + width, w + max_keys, T(0));
    std::fill(ds + width, ds + max_keys, T(0));
  }

  Problem p_;
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

}  // namespace pyneural::attention
