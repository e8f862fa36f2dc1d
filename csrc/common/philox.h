// Random numbers as a function of a counter, for host and device: Philox 4x32 with ten rounds
// (Salmon et al. 2011), so that a backward draws again what its forward drew, in any order.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define PYNEURAL_PHILOX __host__ __device__ __forceinline__
#else
#define PYNEURAL_PHILOX inline __attribute__((always_inline))
#endif

namespace pyneural {

// Replaces the counter by four random words.
PYNEURAL_PHILOX void philox(uint64_t key, uint32_t (&counter)[4]) {
  auto low_key = static_cast<uint32_t>(key), high_key = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0], b = uint64_t{0xCD9E8D57} * counter[2];
    const uint32_t first = static_cast<uint32_t>(b >> 32) ^ counter[1] ^ low_key;
    const uint32_t third = static_cast<uint32_t>(a >> 32) ^ counter[3] ^ high_key;
    counter[1] = static_cast<uint32_t>(b);
    counter[3] = static_cast<uint32_t>(a);
    counter[0] = first;
    counter[2] = third;
    low_key += 0x9E3779B9;
    high_key += 0xBB67AE85;
  }
}

// Words below it are dropped: p of all, to 2^-32.
PYNEURAL_PHILOX uint64_t drop_threshold(double p) {
  return static_cast<uint64_t>(p * 4294967296.0);
}

}  // namespace pyneural
