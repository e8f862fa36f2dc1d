// What a kernel's accesses to shared memory cost on a GPU, counted on the host.
//
// The compiler's instrumentation for races calls the functions below at every access. Those of the
// lanes of a warp at the same place of the program, the same time round, are one request. Shared
// memory has 32 banks of 4 bytes: of a request, words in the same bank are served one after the
// other, in as many wavefronts; requests of 8 and 16 bytes a lane are served by halves and quarters
// of the warp. Neighbouring elements that a thread accesses one after the other are taken as the
// vector that nvcc makes of them. CUDA C++ Programming Guide, "Shared Memory".
#pragma once

#include <array>
#include <map>
#include <set>
#include <tuple>

namespace cuda_on_host {

struct Access {
  const void* site;  // in the program
  uintptr_t address;
  unsigned block, thread;
  int size;
  bool is_write;
};
constexpr size_t kMostAccesses = size_t{1} << 22;
inline Access accesses[kMostAccesses];
inline size_t accesses_count = 0;
inline bool traces = false;

[[gnu::no_sanitize_thread]] inline void note_access(const void* site, const void* at, int size,
                                                    bool is_write) {
  if (!traces) return;
  const auto address = reinterpret_cast<uintptr_t>(at);
  for (int i = 0; i < shared_count; ++i)
    if (address >= shared_begin[i] && address < shared_end[i]) {
      if (accesses_count == kMostAccesses) fail("too many accesses to trace");
      accesses[accesses_count++] = {site, address, blockIdx.x, threadIdx.x, size, is_write};
      return;
    }
}

// Wavefronts of a request of `size` bytes a lane, and how few it could take.
[[gnu::no_sanitize_thread]] inline std::array<int64_t, 2> wavefronts(
    const std::vector<std::pair<unsigned, uintptr_t>>& lanes, int size) {
  const int parts = size > 4 ? size / 4 : 1, lanes_of_part = 32 / parts;
  std::array<int64_t, 2> result = {0, 0};
  for (int part = 0; part < parts; ++part) {
    std::set<uintptr_t> words;
    for (const auto& [lane, address] : lanes)
      if (static_cast<int>(lane) / lanes_of_part == part)
        for (uintptr_t byte = 0; byte < static_cast<uintptr_t>(size); byte += 4)
          words.insert((address + byte) / 4);
    std::array<int64_t, 32> in_bank = {};
    for (const uintptr_t word : words) ++in_bank[word % 32];
    result[0] += *std::max_element(in_bank.begin(), in_bank.end());
    result[1] += (static_cast<int64_t>(words.size()) + 31) / 32;
  }
  return result;
}

// Of all requests since the last call: wavefronts of reads, the fewest; of writes, the fewest.
[[gnu::no_sanitize_thread]] inline void count_wavefronts(int64_t* counts) {
  traces = false;
  std::map<std::pair<unsigned, unsigned>, std::vector<Access>> of_thread;
  for (size_t i = 0; i < accesses_count; ++i) {
    const Access& now = accesses[i];
    auto& own = of_thread[{now.block, now.thread}];
    if (!own.empty()) {
      Access& before = own.back();
      const int size = before.size + now.size;
      const bool goes_on = before.address + before.size == now.address &&
                           before.is_write == now.is_write && now.size >= 4;
      // 12 bytes are on their way to 16.
      if (goes_on && size <= 16 && before.address % (size == 12 ? 16 : size) == 0) {
        before.size = size;
        continue;
      }
    }
    own.push_back(now);
  }
  using Request = std::tuple<unsigned, unsigned, const void*, int64_t, int, bool>;
  std::map<Request, std::vector<std::pair<unsigned, uintptr_t>>> requests;
  for (const auto& [who, list] : of_thread) {
    std::map<const void*, int64_t> rounds;
    for (const Access& one : list)
      requests[{who.first, who.second / 32, one.site, rounds[one.site]++, one.size, one.is_write}]
          .push_back({who.second % 32, one.address});
  }
  std::fill_n(counts, 4, 0);
  for (const auto& [request, lanes] : requests) {
    const auto count = wavefronts(lanes, std::get<4>(request));
    int64_t* const to = counts + (std::get<5>(request) ? 2 : 0);
    to[0] += count[0];
    to[1] += count[1];
  }
  accesses_count = 0;
}

}  // namespace cuda_on_host

#define PYNEURAL_HOOKS(size)                                                           \
  extern "C" [[gnu::no_sanitize_thread]] void __tsan_read##size(void* at) {            \
    cuda_on_host::note_access(__builtin_return_address(0), at, size, false);           \
  }                                                                                    \
  extern "C" [[gnu::no_sanitize_thread]] void __tsan_write##size(void* at) {           \
    cuda_on_host::note_access(__builtin_return_address(0), at, size, true);            \
  }                                                                                    \
  extern "C" [[gnu::no_sanitize_thread]] void __tsan_unaligned_read##size(void* at) {  \
    cuda_on_host::note_access(__builtin_return_address(0), at, size, false);           \
  }                                                                                    \
  extern "C" [[gnu::no_sanitize_thread]] void __tsan_unaligned_write##size(void* at) { \
    cuda_on_host::note_access(__builtin_return_address(0), at, size, true);            \
  }
PYNEURAL_HOOKS(1)
PYNEURAL_HOOKS(2)
PYNEURAL_HOOKS(4)
PYNEURAL_HOOKS(8)
PYNEURAL_HOOKS(16)
#undef PYNEURAL_HOOKS
extern "C" [[gnu::no_sanitize_thread]] void __tsan_read_range(void* at, unsigned long size) {
  cuda_on_host::note_access(__builtin_return_address(0), at, static_cast<int>(size), false);
}
extern "C" [[gnu::no_sanitize_thread]] void __tsan_write_range(void* at, unsigned long size) {
  cuda_on_host::note_access(__builtin_return_address(0), at, static_cast<int>(size), true);
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}

extern "C" void trace() { cuda_on_host::traces = true; }
extern "C" void wavefronts_since(int64_t* counts) { cuda_on_host::count_wavefronts(counts); }
