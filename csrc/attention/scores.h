// Masks on the CPU: which scores of a block take part, by the mask, the causal limit and dropout.
#pragma once

#include <ATen/core/Tensor.h>

#include <limits>
#include <optional>

#include "../common/dropout.h"
#include "../common/vectors.h"
#include "attention_check.h"
#include "mask_base.h"
#include "notation.h"

namespace pyneural::attention::cpu {

// Keys of a block: with so many, both products stay in the first-level cache.
constexpr int64_t kKeyBlock = 128;
static_assert(kKeyBlock % kDropoutBlock == 0);
// From a row of a block's scores to the next: two lines more than the row, since lines that are a
// power of two apart share a few sets of the first-level cache.
template <class T>
constexpr int64_t kScoresStride = kKeyBlock + 128 / static_cast<int64_t>(sizeof(T));

template <class T>
constexpr T kMasked = -std::numeric_limits<T>::infinity();

// The mask [N, H, L, S]; strides of broadcast dimensions are 0.
template <class T>
class Mask {
 public:
  Mask() = default;
  Mask(const std::optional<at::Tensor>& mask, const Problem& problem) {
    if (!mask) return;
    if (mask->scalar_type() == at::kBool) {
      allowed_ = mask->const_data_ptr<bool>();
    } else {
      added_ = mask->const_data_ptr<T>();
      base_ = mask_base(*mask, problem).contiguous();
      if (!base_.any().item<bool>()) base_.reset();
    }
    for (int64_t d = 0; d < 4; ++d) {
      strides_[d] = mask->size(d) == 1 ? 0 : mask->stride(d);
      if (base_.defined()) base_strides_[d] = base_.size(d) == 1 ? 0 : base_.stride(d);
    }
  }

  // The mask of a block of [rows] x [keys].
  BlockMask block_mask(int64_t n, int64_t h, int64_t first_row, int64_t rows, int64_t first_key,
                       int64_t keys) const {
    if (!allowed_ && !added_) return BlockMask::full;
    if (strides_[2] == 0) rows = 1;
    if (strides_[3] == 0) keys = 1;
    bool any = false, all = true;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = offset(n, h, first_row + i, first_key);
      if (allowed_) {
        int64_t count = 0;
        for (int64_t j = 0; j < keys; ++j) count += allowed_[at + j];
        any |= count > 0;
        all &= count == keys;
      } else {
        for (int64_t j = 0; j < keys; ++j) any |= added_[at + j] != kMasked<T>;
        all = false;
      }
    }
    return all ? BlockMask::full : any ? BlockMask::partial : BlockMask::empty;
  }

  // Masks the scores of a row, in units of log2: -inf for a masked key, whatever its score.
  void apply(int64_t n, int64_t h, int64_t row, int64_t first_key, int64_t keys, T* scores) const {
    const int64_t at = offset(n, h, row, first_key), step = strides_[3];
    if (allowed_ && step == 1) {
      const bool* const allowed = allowed_ + at;
      for (int64_t j = 0; j < keys; ++j) scores[j] = allowed[j] ? scores[j] : kMasked<T>;
    } else if (allowed_) {
      if (!allowed_[at]) std::fill_n(scores, keys, kMasked<T>);
    } else {
      const T* const added = added_ + at;
      const T base = base_.defined() ? base_.const_data_ptr<T>()[base_offset(n, h, row)] : T(0);
      if (base != 0) {  // rounded as torch does, which adds before it finds the maximum
        for (int64_t j = 0; j < keys; ++j)
          scores[j] = added[j * step] == kMasked<T>
                          ? kMasked<T>
                          : (scores[j] * kLn2<T> + added[j * step] - base) * kLog2E<T>;
        return;
      }
      for (int64_t j = 0; j < keys; ++j) {
        const T a = added[j * step];
        scores[j] = a == kMasked<T> ? a : scores[j] + a * kLog2E<T>;
      }
    }
  }

 private:
  int64_t offset(int64_t n, int64_t h, int64_t row, int64_t key) const {
    return n * strides_[0] + h * strides_[1] + row * strides_[2] + key * strides_[3];
  }

  int64_t base_offset(int64_t n, int64_t h, int64_t row) const {
    return n * base_strides_[0] + h * base_strides_[1] + row * base_strides_[2];
  }

  const bool* allowed_ = nullptr;
  const T* added_ = nullptr;
  at::Tensor base_;  // where a row has one
  int64_t strides_[4] = {}, base_strides_[4] = {};
};

// Masks the scores [count, width) of a row, `width` whole vectors. Written as whole vectors: a load
// of one soon after narrower writes would wait for these.
template <class T>
void mask_tail(T* scores, int64_t count, int64_t width) {
  const Vec<T> lane = Vec<T>::arange(T(0), T(1)), masked(kMasked<T>);
  for (int64_t j = count / lanes<T>() * lanes<T>(); j < width; j += lanes<T>()) {
    const Vec<T> is_seen = lane < Vec<T>(static_cast<T>(count - j));
    Vec<T>::blendv(masked, Vec<T>::loadu(scores + j), is_seen).store(scores + j);
  }
}

// The keys that a query may see: [0, limit).
inline int64_t key_limit(const Problem& p, int64_t query) {
  return p.is_causal ? std::min(p.keys, query + 1) : p.keys;
}

// 0 or dropout.factor for the weights of a row, from the first key of a dropout block on.
template <class T>
void dropout_factors(const Dropout& dropout, int64_t row, int64_t first_key, int64_t keys,
                     T* factors) {
  for (int64_t first = 0; first < keys; first += kDropoutBlock)
    dropout.factors(row, (first_key + first) / kDropoutBlock, factors + first);
}

}  // namespace pyneural::attention::cpu
