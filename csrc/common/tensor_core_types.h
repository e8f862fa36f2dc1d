// Half-precision elements as the CUDA kernels pass them: bits.
#pragma once

#include <cstdint>

namespace pyneural {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

}  // namespace pyneural
