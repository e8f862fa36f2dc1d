// A network's layers for a kernel, each tensor in memory of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "csrc/common/layer_pointers.h"

// flat [P]: weights[0], biases[0], weights[1], ...
template <class T>
class Layers {
 public:
  Layers(int layers, const int64_t* widths, const T* flat) {
    pointers_.width[0] = static_cast<int32_t>(widths[0]);
    for (int l = 0; l < layers; ++l) {
      const T* const weights = keep(&flat, widths[l + 1] * widths[l]);
      pointers_.add(widths[l + 1], weights, keep(&flat, widths[l + 1]));
    }
  }
  const pyneural::LayerPointers<T>& pointers() const { return pointers_; }

 private:
  const T* keep(const T** flat, int64_t size) {
    kept_.emplace_back(*flat, *flat + size);
    *flat += size;
    return kept_.back().data();
  }

  pyneural::LayerPointers<T> pointers_;
  std::deque<std::vector<T>> kept_;
};
