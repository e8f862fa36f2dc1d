// Memory for what a forward keeps for its backward, used again from one training step to the next.
//
// The system's allocator gives pieces of megabytes back when they are freed, and what it gets anew
// is zeroed page by page: a sixth of a training step of a spline flow. As in scratch.h these are
// huge pages where the system has them.
#pragma once

#include <ATen/ops/from_blob.h>

#include <cstddef>
#include <iterator>
#include <mutex>

#include "scratch.h"

namespace pyneural {

namespace detail {

class Pool {
 public:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  struct Piece {
    std::unique_ptr<std::byte, Free> memory;
    int64_t size;
  };

  static Pool& instance() {
    static Pool* const pool = new Pool;  // outlives every tensor
    return *pool;
  }

  // The piece of that size that was given back last, or a new one.
  Piece take(int64_t bytes) {
    const int64_t size = round_up(bytes > 0 ? bytes : 1, kUnit);
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto piece = unused_.rbegin(); piece != unused_.rend(); ++piece)
      if (piece->size == size) {
        Piece taken = std::move(*piece);
        unused_.erase(std::next(piece).base());
        total_ -= size;
        return taken;
      }
    return {std::unique_ptr<std::byte, Free>(allocate(size)), size};
  }

  void give_back(Piece piece) {
    const std::lock_guard<std::mutex> lock(mutex_);
    total_ += piece.size;
    unused_.push_back(std::move(piece));
    while (total_ > kMostUnused) {  // the oldest go
      total_ -= unused_.front().size;
      unused_.erase(unused_.begin());
    }
  }

 private:
  // With an address sanitizer every piece ends where its memory does.
#ifdef __SANITIZE_ADDRESS__
  static constexpr int64_t kUnit = kCacheLine, kMostUnused = 0;
#else
  static constexpr int64_t kUnit = int64_t{1} << 18, kMostUnused = int64_t{128} << 20;
#endif

  static std::byte* allocate(int64_t size) {
    auto* const memory = static_cast<std::byte*>(std::aligned_alloc(kUnit, size));
    if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (kUnit > kCacheLine) madvise(memory, size, MADV_HUGEPAGE);
#endif
    return memory;
  }

  std::mutex mutex_;
  std::vector<Piece> unused_;
  int64_t total_ = 0;  // bytes
};

}  // namespace detail

// [size], not initialised, of the dtype of x.
inline at::Tensor pooled(int64_t size, const at::Tensor& x) {
  using Piece = detail::Pool::Piece;
  const int64_t bytes = size * static_cast<int64_t>(x.element_size());
  auto* const piece = new Piece(detail::Pool::instance().take(bytes));
  const auto give_back = [piece](void*) {
    detail::Pool::instance().give_back(std::move(*piece));
    delete piece;
  };
  return at::from_blob(piece->memory.get(), {size}, give_back, x.options());
}

}  // namespace pyneural
