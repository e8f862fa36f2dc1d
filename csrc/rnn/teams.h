// How the threads share a recurrence: rows of the batch among teams, which never wait for each
// other, and hidden units among the threads of a team, which meet after every step.
#pragma once

#include <ATen/Parallel.h>

#include <atomic>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../common/shares.h"

namespace pyneural::rnn {

// All threads of a call meet here; a thread that does the work of several counts as these.
class Barrier {
 public:
  explicit Barrier(int64_t members) : members_(members) {}

  void wait(int64_t count) {
    if (count == members_) return;
    const int64_t round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(count, std::memory_order_acq_rel) + count == members_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int64_t turns = 0; round_.load(std::memory_order_acquire) == round; ++turns) {
      if (turns > kPatience) std::this_thread::yield();  // another one needs this core
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
  }

 private:
  static constexpr int64_t kPatience = 1 << 12;
  const int64_t members_;
  alignas(64) std::atomic<int64_t> arrived_{0};
  alignas(64) std::atomic<int64_t> round_{0};
};

// A part of the rows and of the groups of units.
struct Share {
  int64_t first_row, last_row, first_group, last_group;
  int64_t rows() const { return last_row - first_row; }
  int64_t groups() const { return last_group - first_group; }
};

struct Teams {
  int64_t teams = 1, members = 1;  // of a team
  int64_t rows = 0, groups = 0;    // in all

  int64_t threads() const { return teams * members; }
  int64_t most_rows() const { return (rows + teams - 1) / teams; }
  int64_t most_groups() const { return (groups + members - 1) / members; }
  Share share(int64_t i) const {
    const int64_t team = i / members, member = i % members;
    return {team * rows / teams, (team + 1) * rows / teams, member * groups / members,
            (member + 1) * groups / members};
  }
};

// The cheapest split of a step. A thread reads its units' weights once a step, and multiplies them
// with its rows, a register tile of them at a time; members of a team wait for each other.
inline Teams make_teams(int64_t rows, int64_t groups, double weights_of_group, int64_t threads) {
  // In multiply-adds; as many as take the time of reading a weight beyond the cache, of a meeting.
  constexpr double kRead = 12, kMeeting = 1 << 17;
  constexpr double kCached = 1 << 17;  // weights
  Teams best{1, 1, rows, groups};
  double least = 0;
  for (int64_t teams = 1; teams <= std::min(rows, threads); ++teams) {
    int64_t members = std::min<int64_t>(groups, threads / teams);
#if !AT_PARALLEL_OPENMP
    members = 1;  // they have to run at the same time
#endif
    if (at::in_parallel_region()) members = 1;
    for (const int64_t m : {int64_t{1}, members}) {
      const double most_rows = static_cast<double>((rows + teams - 1) / teams);
      const double weights = weights_of_group * static_cast<double>((groups + m - 1) / m);
      const double cost = std::max(weights * most_rows, weights > kCached ? weights * kRead : 0) +
                          (m > 1 ? kMeeting : 0);
      if (least == 0 || cost < least) {
        least = cost;
        best = {teams, m, rows, groups};
      }
    }
  }
  return best;
}

// body(first, last) for ranges of shares that together are all and run at the same time.
template <class Body>
void run_teams(const Teams& teams, const Body& body) {
  if (teams.threads() == 1) return body(int64_t{0}, int64_t{1});
  at::parallel_for(0, teams.threads(), 1, body);
}

}  // namespace pyneural::rnn
