// Sizes of the processor's caches, which the blocks of a product are cut for.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace pyneural {

struct Caches {
  int64_t level1 = 32 << 10, level2 = 256 << 10;  // bytes, of a core
};

// Those that the system tells, within reason: a virtual machine may tell anything.
inline const Caches& caches() {
  static const Caches found = [] {
    Caches sizes;
#ifdef _SC_LEVEL1_DCACHE_SIZE
    const int64_t level1 = sysconf(_SC_LEVEL1_DCACHE_SIZE), level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (level1 > 0) sizes.level1 = std::clamp<int64_t>(level1, 16 << 10, 256 << 10);
    if (level2 > 0) sizes.level2 = std::clamp<int64_t>(level2, 128 << 10, 4 << 20);
#endif
    return sizes;
  }();
  return found;
}

}  // namespace pyneural
