// What a step is made of, the same on every device: the columns of its coefficients, and normal
// noise as a function of the seed, a row, the step and a column, of Philox words by the method of
// Box and Muller (1958).
#pragma once

#include "../common/philox.h"

namespace pyneural::diffusion_sampler {

// Columns of the coefficients (a, c, b_0, ..., b_(K-1)) before those of the network's values.
constexpr int64_t kBeforeMemory = 2;

// Columns of x that have the words of one counter.
constexpr int kGroup = 4;
// z_0, z_1 = r cos(angle), r sin(angle) of a pair of words.
constexpr double kTwoPi = 6.28318530717958647693;

// The words of the columns kGroup * group + {0, 1, 2, 3}: two pairs.
PYNEURAL_PHILOX void draw_words(uint64_t seed, int64_t row, int64_t step, int64_t group,
                                uint32_t (&words)[kGroup]) {
  const auto at = static_cast<uint64_t>(row);
  words[0] = static_cast<uint32_t>(group);
  words[1] = static_cast<uint32_t>(at);
  words[2] = static_cast<uint32_t>(at >> 32);
  words[3] = static_cast<uint32_t>(step);
  philox(seed, words);
}

// (word + 1/2) / 2^32, rounded: above 0 and at most 1.
template <class T>
PYNEURAL_PHILOX T uniform(uint32_t word) {
  return (static_cast<T>(word) + T(0.5)) * T(1.0 / 4294967296.0);
}

}  // namespace pyneural::diffusion_sampler
