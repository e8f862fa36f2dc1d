// The sizes of one call: the network, the points, and the plan of its channels.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/activation.h"
#include "plan.h"

namespace pyneural::jet {

// x [N, D]; weights[l] [width[l + 1], width[l]] and biases[l] [width[l + 1]] for l < L.
struct Network {
  Plan plan;
  ActivationKind activation = ActivationKind::linear;
  int64_t points = 0;          // N
  std::vector<int64_t> width;  // [L + 1], width[0] = D, width[L] = O
  int64_t parameters = 0;      // P, flat in the order weights[0], biases[0], weights[1], ...

  int64_t layers() const { return static_cast<int64_t>(width.size()) - 1; }
  int64_t inputs() const { return width.front(); }
  int64_t outputs() const { return width.back(); }
};

}  // namespace pyneural::jet
