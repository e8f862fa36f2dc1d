// Which elements dropout keeps: a function of the seed and of the position, row and column, the
// same on every device, in the forward, its backward and the graphs of torch's own functions.
#pragma once

#include "philox.h"

namespace pyneural {

// Sixteen counters give the random words of 64 elements, keys of attention for instance: word w of
// counter c is that of element 16 w + c.
// Neighbouring lanes of a vector have neighbouring counters, and the keys that a thread of a tensor
// core's tile holds of a row, 2 t + {0, 1} + 8 b for b < 8, are all the words of four counters.
constexpr int kDropoutBlock = 64, kDropoutCounters = 16;

struct Dropout {
  uint64_t seed = 0, threshold = 0;
  double factor = 1;  // of a weight that is kept

  Dropout() = default;
  Dropout(uint64_t seed, double p)
      : seed(seed), threshold(drop_threshold(p)), factor(p < 1 ? 1 / (1 - p) : 0) {}

  // The words of one counter of a block of a row.
  PYNEURAL_PHILOX void draw(int64_t row, int64_t block, int counter, uint32_t (&words)[4]) const {
    const auto place = static_cast<uint64_t>(block) * kDropoutCounters + counter;
    const auto at = static_cast<uint64_t>(row);
    words[0] = static_cast<uint32_t>(place);
    words[1] = static_cast<uint32_t>(at);
    words[2] = static_cast<uint32_t>(at >> 32);
    words[3] = static_cast<uint32_t>(place >> 32);
    philox(seed, words);
  }
  PYNEURAL_PHILOX bool keeps(uint32_t word) const { return word >= threshold; }

  // to[j] = factor or 0 for the kDropoutBlock elements of a block, on the host.
  template <class T>
  void factors(int64_t row, int64_t block, T* to) const {
    uint32_t words[4][kDropoutCounters];
    for (int counter = 0; counter < kDropoutCounters; ++counter) {
      uint32_t drawn[4];
      draw(row, block, counter, drawn);
      for (int w = 0; w < 4; ++w) words[w][counter] = drawn[w];
    }
    const uint32_t* const word = &words[0][0];
    const auto kept = static_cast<T>(factor);
    for (int j = 0; j < kDropoutBlock; ++j) to[j] = keeps(word[j]) ? kept : T(0);
  }
};

}  // namespace pyneural
