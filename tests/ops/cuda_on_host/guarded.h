// Memory for a kernel that shows what it did not write, and whether it wrote beyond the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

// size elements of NaN, and a guard that a kernel must leave alone.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t size) : size_(size), elements_(size + kGuard, kGuardValue) {
    std::fill_n(elements_.begin(), size, std::numeric_limits<T>::quiet_NaN());
  }
  T* data() { return elements_.data(); }
  bool overrun() const {
    return std::any_of(elements_.begin() + size_, elements_.end(),
                       [](T e) { return e != kGuardValue; });
  }

 private:
  static constexpr int kGuard = 64;
  static constexpr T kGuardValue = T(12345);
  int64_t size_;
  std::vector<T> elements_;
};
