// Memory for a kernel that shows what it did not write, and whether it wrote beyond the end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

// size elements of NaN, of any precision all bits, and a guard that a kernel must leave alone.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t size) : bytes_(size * sizeof(T), 0xff) {
    bytes_.resize(bytes_.size() + kGuard, kGuardValue);
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data()); }
  bool overrun() const {
    return std::any_of(bytes_.end() - kGuard, bytes_.end(),
                       [](unsigned char byte) { return byte != kGuardValue; });
  }

 private:
  static constexpr int kGuard = 512;
  static constexpr unsigned char kGuardValue = 0x5a;
  std::vector<unsigned char> bytes_;
};
