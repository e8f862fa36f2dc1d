// Which attention weights dropout keeps: a function of the seed and of the place among the scores,
// the same on every device, in the forward, its backward and the graphs of torch's own functions.
#pragma once

#include "../common/philox.h"

namespace pyneural::attention {

// Sixteen counters give the random words of 64 keys: word w of counter c is that of key 16 w + c.
// Neighbouring lanes of a vector have neighbouring counters, and the keys that a thread of a tensor
// core's tile holds of a row, 2 t + {0, 1} + 8 b for b < 8, are all the words of four counters.
constexpr int kDropoutBlock = 64, kDropoutCounters = 16;

struct Dropout {
  uint64_t seed = 0, threshold = 0;
  double factor = 1;  // of a weight that is kept

  Dropout() = default;
  Dropout(uint64_t seed, double p)
      : seed(seed), threshold(drop_threshold(p)), factor(p < 1 ? 1 / (1 - p) : 0) {}

  // The words of one counter of a block of keys, in row (n H + h) L + l of the scores.
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
};

}  // namespace pyneural::attention
