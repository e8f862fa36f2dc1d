// csrc/common/async_copy.cuh on the host: a copy happens when its thread waits for it; until then
// there is NaN.
#pragma once

#include <cuda_runtime_api.h>

#include <cstring>
#include <deque>
#include <map>

namespace pyneural {

constexpr int kCopyBytes = 16;

namespace on_host {

struct Copy {
  void* to;
  const void* from;
  int size, bytes;
};
struct Copies {
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};
inline std::map<unsigned, Copies> copies;  // of each thread

}  // namespace on_host

// The one access of it that counts for bank conflicts is the NaN that it leaves until then.
template <int size>
void copy_small_async(void* shared, const void* global, int bytes) {
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % size == 0; };
  if (!aligned(shared) || !aligned(global) || bytes < 0 || bytes > size) {
    std::fprintf(stderr, "copy of %d bytes: %p from %p, %d bytes\n", size, shared, global, bytes);
    std::abort();
  }
  if constexpr (size == 4)
    *static_cast<uint32_t*>(shared) = ~uint32_t{0};
  else
    for (int i = 0; i < size / 8; ++i) static_cast<uint64_t*>(shared)[i] = ~uint64_t{0};
  on_host::copies[threadIdx.x].open.push_back({shared, global, size, bytes});
}
inline void copy_async(void* shared, const void* global, int bytes) {
  copy_small_async<kCopyBytes>(shared, global, bytes);
}

inline void commit_copies() {
  on_host::Copies& own = on_host::copies[threadIdx.x];
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}

template <int groups>
[[gnu::no_sanitize_thread]] void wait_copies() {
  on_host::Copies& own = on_host::copies[threadIdx.x];
  for (; own.groups.size() > groups; own.groups.pop_front())
    for (const on_host::Copy& copy : own.groups.front()) {
      std::memset(copy.to, 0, copy.size);
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
}

}  // namespace pyneural
