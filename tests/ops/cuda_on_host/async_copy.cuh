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
  int bytes;
};
struct Copies {
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};
inline std::map<unsigned, Copies> copies;  // of each thread

}  // namespace on_host

inline void copy_async(void* shared, const void* global, int bytes) {
  const auto aligned = [](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % kCopyBytes == 0;
  };
  if (!aligned(shared) || !aligned(global) || bytes < 0 || bytes > kCopyBytes) {
    std::fprintf(stderr, "copy_async: %p from %p, %d bytes\n", shared, global, bytes);
    std::abort();
  }
  std::memset(shared, 0xff, kCopyBytes);
  on_host::copies[threadIdx.x].open.push_back({shared, global, bytes});
}

inline void commit_copies() {
  on_host::Copies& own = on_host::copies[threadIdx.x];
  own.groups.push_back(std::move(own.open));
  own.open.clear();
}

template <int groups>
void wait_copies() {
  on_host::Copies& own = on_host::copies[threadIdx.x];
  for (; own.groups.size() > groups; own.groups.pop_front())
    for (const on_host::Copy& copy : own.groups.front()) {
      std::memset(copy.to, 0, kCopyBytes);
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
}

}  // namespace pyneural
