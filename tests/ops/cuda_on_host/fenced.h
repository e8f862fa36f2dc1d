// A copy of an operand that ends where memory ends: a kernel that reads beyond it is stopped.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

// At the last page before one that may not be read; where the original is not aligned to 16 bytes,
// as much as that off.
template <class T>
class Fenced {
 public:
  Fenced(const T* from, int64_t size) {
    const size_t page = sysconf(_SC_PAGESIZE), bytes = size * sizeof(T);
    const size_t off = reinterpret_cast<uintptr_t>(from) % kAligned;
    length_ = (bytes / page + 3) * page;
    start_ = static_cast<unsigned char*>(
        mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(start_ + length_ - page, page, PROT_NONE);
    unsigned char* first = start_ + length_ - page - bytes;
    if (off) first -= (reinterpret_cast<uintptr_t>(first) - off) % kAligned;
    data_ = reinterpret_cast<const T*>(first);
    if (bytes) std::memcpy(first, from, bytes);
  }
  ~Fenced() { munmap(start_, length_); }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  const T* data() const { return data_; }

 private:
  static constexpr uintptr_t kAligned = 16;
  unsigned char* start_;
  size_t length_;
  const T* data_;
};
