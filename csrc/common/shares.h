// Work cut into shares that get smaller to the end, for threads to take as they become free.
#pragma once

#include <vector>

#include "caches.h"
#include "parallel.h"

namespace pyneural {

// [0, size) as shares: half of it is one for each thread, half of the rest again, and so on.
// Threads of unequal speed, of a processor with cores of two kinds or one that others use too, end
// at about the same time, and so do those of equal speed. What is summed over a share, and then
// over the shares in their order, has the same bits whichever thread has taken which.
class Shares {
 public:
  Shares(int64_t size, int64_t threads) : Shares(size, threads, 1, kMostRounds) {}

  // Shares for which sums of so many bytes are kept, each of at least `least` where the
  // second-level cache holds the sums: enough for what it takes to add them up.
  static Shares with_sums(int64_t size, int64_t threads, int64_t bytes, int64_t least = 1) {
    const int64_t of_round = threads * std::max(bytes, int64_t{1});
    const auto rounds = static_cast<int>(std::min<int64_t>(kMostSums / of_round, kMostRounds));
    return {size, threads, least * (1 + 2 * bytes / caches().level2), rounds};
  }

  int64_t count() const { return static_cast<int64_t>(end_.size()); }
  int64_t begin(int64_t share) const { return end(share - 1); }
  int64_t end(int64_t share) const { return share < 0 ? 0 : end_[share]; }

 private:
  // More would gain little even where a core is half as fast as another, and every share has sums.
  static constexpr int kMostRounds = 3;
  // Bytes of the sums of all shares, beyond those of one for each thread.
  static constexpr int64_t kMostSums = int64_t{32} << 20;

  Shares(int64_t size, int64_t threads, int64_t least, int most_rounds) {
    int rounds = 1;
    while (rounds < most_rounds && threads > 1 && size >= (threads << rounds) * least) ++rounds;
    // In the length of those of the last round, of which there are two.
    const int64_t parts = threads << (rounds - 1);
    int64_t part = 0;
    for (int round = 0; round < rounds; ++round)
      for (int64_t thread = 0; thread < threads; ++thread) {
        part += int64_t{1} << std::max(rounds - 2 - round, 0);
        const int64_t end = part * size / parts;
        if (end > this->end(count() - 1)) end_.push_back(end);
      }
  }

  std::vector<int64_t> end_;
};

}  // namespace pyneural
