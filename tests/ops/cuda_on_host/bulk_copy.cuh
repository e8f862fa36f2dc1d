// csrc/common/bulk_copy.cuh on the host: the copies of a phase happen when the first thread waits
// for it; until then there is NaN. What the hardware would do with a wrong call stays unknown: the
// program ends.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <map>

namespace pyneural {

using CopyBarrier = uint64_t;

namespace on_host {

struct BoxCopy {
  unsigned char* to;
  const CUtensorMap* map;
  int first[4];  // column, row, head, batch

  int64_t bytes() const { return int64_t{2} * map->box[0] * map->box[1]; }

  // Bits 4 to 6 of an address in shared memory are changed by its bits 7 to 9.
  void carry_out() const {
    std::memset(to, 0, bytes());
    for (cuuint32_t r = 0; r < map->box[1]; ++r)
      for (cuuint32_t c = 0; c < map->box[0]; ++c) {
        const cuuint64_t at[4] = {first[0] + c, first[1] + r, cuuint64_t(first[2]),
                                  cuuint64_t(first[3])};
        const unsigned char* from = map->data;
        bool is_inside = true;
        for (int d = 0; d < 4; ++d) {
          from += at[d] * map->strides[d];
          is_inside &= at[d] < map->sizes[d];
        }
        const uint64_t plain = to - cuda_on_host::dynamic_shared + (r * map->box[0] + c) * 2;
        if (is_inside)
          std::memcpy(cuda_on_host::dynamic_shared + (plain ^ (plain >> 7 & 7) << 4), from, 2);
      }
  }
};

struct Phases {
  std::vector<BoxCopy> copies;   // in flight
  unsigned closed = 0;           // phases
  std::vector<unsigned> waited;  // for so many phases, of each thread

  bool all_waited() const {
    return std::all_of(waited.begin(), waited.end(), [&](unsigned n) { return n == closed; });
  }
};
inline std::map<const CopyBarrier*, Phases> barriers;
inline int64_t bulk_copies = 0;  // so far

inline Phases& phases_of(const CopyBarrier* barrier) {
  const auto found = barriers.find(barrier);
  if (found == barriers.end()) cuda_on_host::fail("bulk copies: a barrier without init_barrier");
  return found->second;
}

// No copy is in flight, and no phase was left unwaited for; then forgets all barriers.
inline void end_bulk_copies() {
  for (const auto& [barrier, phases] : barriers)
    if (!phases.copies.empty() || !phases.all_waited())
      cuda_on_host::fail("bulk copies: a block has ended before them");
  barriers.clear();
}

}  // namespace on_host

inline void init_barrier(CopyBarrier* barrier) {
  using namespace on_host;
  if (barriers.count(barrier)) end_bulk_copies();  // of the block before
  if (reinterpret_cast<uintptr_t>(barrier) % 8 != 0)
    cuda_on_host::fail("bulk copies: a barrier is not aligned to 8 bytes");
  barriers[barrier].waited.resize(cuda_on_host::threads.size());
}

inline void copy_box(void* shared, const CUtensorMap* map, int column, int row, int head, int batch,
                     int bytes, CopyBarrier* barrier) {
  using namespace on_host;
  const BoxCopy copy{static_cast<unsigned char*>(shared), map, {column, row, head, batch}};
  Phases& phases = phases_of(barrier);
  if (!phases.all_waited()) cuda_on_host::fail("copy_box: the last phase is not complete");
  if (reinterpret_cast<uintptr_t>(shared) % 1024 != 0)
    cuda_on_host::fail("copy_box: swizzled panels are aligned to 1024 bytes");
  if (bytes != copy.bytes()) cuda_on_host::fail("copy_box: a box has other bytes than expected");
  for (int d = 0; d < 4; ++d)
    if (copy.first[d] < 0 || static_cast<cuuint64_t>(copy.first[d]) >= map->sizes[d])
      cuda_on_host::fail("copy_box: a box begins outside of its tensor");
  for (const auto& [other, others] : barriers)
    for (const BoxCopy& one : others.copies)
      if (one.to < copy.to + bytes && copy.to < one.to + one.bytes())
        cuda_on_host::fail("copy_box: another box is in flight to the same place");
  std::memset(shared, 0xff, bytes);
  phases.copies.push_back(copy);
  ++bulk_copies;
}

inline void commit_phase(CopyBarrier* barrier) {
  on_host::Phases& phases = on_host::phases_of(barrier);
  if (!phases.all_waited()) cuda_on_host::fail("commit_phase: the last phase is not complete");
  ++phases.closed;
}

inline void wait_phase(CopyBarrier* barrier, unsigned phase) {
  on_host::Phases& phases = on_host::phases_of(barrier);
  unsigned& waited = phases.waited[threadIdx.x];
  if (phase != waited % 2) cuda_on_host::fail("wait_phase: not the next phase");
  while (phases.closed == waited) cuda_on_host::wait_for_threads();
  for (const on_host::BoxCopy& copy : phases.copies) copy.carry_out();
  phases.copies.clear();
  ++waited;
}

}  // namespace pyneural
