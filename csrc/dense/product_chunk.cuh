// A chunk of an operand of a product in shared memory: copies into it, fragments out of it.
//
// A chunk has 64 bytes along k of 128 rows. It lies there in lines as in global memory, so that
// copies go past the registers: Along::k, a line is a row; Along::row, a line is a k. Of each line,
// the piece p of 16 bytes stands at place p ^ turn(line). Thereby 8 neighbouring lanes of a copy,
// the 8 pieces of a matrix that a tensor core's load takes at a time, and what the lanes of a warp
// read by themselves lie in different banks.
#pragma once

#include <type_traits>

#include "../common/async_copy.cuh"
#include "../common/fragments.cuh"
#include "../common/matmul.cuh"
#include "dense_cuda.h"

namespace pyneural::dense {

constexpr int kChunkRows = 128, kChunkBytes = 64;

// Elements along k of a chunk.
template <class T>
constexpr int kChunk = kChunkBytes / static_cast<int>(sizeof(T));

struct Chunk {
  alignas(kCopyBytes) unsigned char bytes[kChunkRows * kChunkBytes];
};

template <class T, Along along>
struct Lines {
  static constexpr int kLines = along == Along::k ? kChunkRows : kChunk<T>;
  static constexpr int kBytes = along == Along::k ? kChunkBytes : kChunkRows * sizeof(T);

  __device__ static int turn(int line) {
    if constexpr (along == Along::k)
      return line / 2 % 4;  // two lines are all banks
    else if constexpr (sizeof(T) == 2)
      return line % 8;
    else if constexpr (sizeof(T) == 4)
      return line % 4 * 2;
    else
      return line / 2 % 4 * 2;
  }
  // Of byte `byte` of a line. Eight lines further it is as far from there as without turns.
  __device__ static unsigned char* at(Chunk& chunk, int line, int byte) {
    return chunk.bytes + line * kBytes + ((byte / kCopyBytes) ^ turn(line)) * kCopyBytes +
           byte % kCopyBytes;
  }
  __device__ static const unsigned char* at(const Chunk& chunk, int line, int byte) {
    return at(const_cast<Chunk&>(chunk), line, byte);
  }
};

// Copies the chunks of an operand one after the other, as far as they are within it; else 0.
//
// Neighbouring threads copy neighbouring parts of a line, and each some lines: parts of 16 bytes
// where all lines begin at such, else of a word, or where a line of 2-byte elements begins between
// two words, through registers.
template <class T, Along along>
class Copier {
 public:
  // row0 and k0: where the first chunk begins; rows: where the operand ends.
  __device__ Copier(const Operand<T>& from, int64_t row0, int64_t rows, int64_t k0)
      : lead_((along == Along::k ? from.row_stride : from.k_stride) * kSize),
        rows_(static_cast<int>(rows - row0 < kChunkRows ? rows - row0 : kChunkRows)) {
    from_ = reinterpret_cast<const unsigned char*>(from.at(row0, k0));
    const auto begins = static_cast<unsigned>(reinterpret_cast<uintptr_t>(from_) | lead_);
    unit_ = begins % kCopyBytes == 0 ? kCopyBytes : begins % kWord == 0 ? kWord : kSize;
    const int parts = Layout::kBytes / (unit_ == kCopyBytes ? kCopyBytes : kWord);
    const int thread = static_cast<int>(threadIdx.x);
    from_ += thread / parts * lead_ + thread % parts * (Layout::kBytes / parts);
  }

  // The thread's part of the next chunk, of which `depth` is left.
  __device__ void copy(Chunk& to, int64_t depth) {
    const int k = depth < kChunk<T> ? static_cast<int>(depth) : kChunk<T>;
    const auto by_vectors = [](void* at, const void* from, int bytes) {
      copy_async(at, from, bytes);
    };
    if (unit_ == kCopyBytes && k == kChunk<T> && rows_ == kChunkRows)  // none of it is 0
      for_lines<kCopyBytes, 2, true>(to, k, by_vectors);
    else if (unit_ == kCopyBytes)
      for_lines<kCopyBytes, 2>(to, k, by_vectors);
    else if (kSize == kWord || unit_ == kWord)
      for_lines<kWord, 1>(to, k, [](void* at, const void* from, int bytes) {
        copy_small_async<kWord>(at, from, bytes);
      });
    else if constexpr (kSize < kWord)
      for_lines<kWord, 4>(to, k, [](void* at, const void* from, int bytes) {
        const auto* const elements = static_cast<const uint16_t*>(from);
        const uint32_t low = bytes > 0 ? elements[0] : 0, high = bytes > 2 ? elements[1] : 0;
        *static_cast<uint32_t*>(at) = low | high << 16;
      });
    from_ += along == Along::k ? kChunkBytes : kChunk<T> * lead_;
  }

 private:
  using Layout = Lines<T, along>;
  static constexpr int kSize = sizeof(T);
  static constexpr int kWord = kSize > 4 ? kSize : 4;

  // put(place, from, bytes within the operand) for each of the thread's lines.
  template <int unit, int unroll, bool within = false, class Put>
  __device__ void for_lines(Chunk& to, int depth, const Put& put) const {
    constexpr int kParts = Layout::kBytes / unit, kStep = kThreads / kParts;
    const int thread = static_cast<int>(threadIdx.x), byte = thread % kParts * unit;
    const int left = (along == Along::k ? depth : rows_) * kSize - byte;
    const int bytes = left < 0 ? 0 : left < unit ? left : unit;
    const unsigned char* from = from_;
#pragma unroll unroll
    for (int i = 0; i < Layout::kLines / kStep; ++i) {
      const int line = thread / kParts + i * kStep;
      const bool is_in = line < (along == Along::k ? rows_ : depth);
      put(Layout::at(to, line, byte), from, within ? unit : is_in ? bytes : 0);
      from += kStep * lead_;
    }
  }

  const unsigned char* from_;  // the thread's first part
  int64_t lead_;               // bytes from line to line
  int rows_, unit_;            // of the chunk within the operand, and bytes of a copy
};

template <class T>
using WordOf = std::conditional_t<std::is_same_v<T, double>, double, uint32_t>;

// Steps of 8 words along k in a chunk.
template <class T>
constexpr int kSteps = kChunkBytes / 8 / static_cast<int>(sizeof(WordOf<T>));

// A lane's words of 16 rows of a chunk: of row g and word t along k of each quarter of a step,
// which has 8 rows and 4 words. Of the left operand the quarter after the first is that of other
// rows, of the right operand that of other k: see tensor_core.cuh. The k of double have another
// order, the same one for both operands.
template <class T>
struct Words {
  WordOf<T> of[kSteps<T>][4];
};
enum class Side { left, right };

// first: a multiple of 8.
template <class T, Along along, Side side>
__device__ Words<T> load_words(const Chunk& chunk, int first) {
  using Layout = Lines<T, along>;
  Words<T> words;
  const int lane = lane_of_warp(), g = lane / 4, t = lane % 4;
  const auto of_rows = [](int q) { return side == Side::left ? q % 2 : q / 2; };
  const auto of_k = [](int q) { return side == Side::left ? q / 2 : q % 2; };
  PYNEURAL_UNROLL
  for (int s = 0; s < kSteps<T>; ++s) {
    auto& of = words.of[s];
    if constexpr (sizeof(T) == 8 && along == Along::k) {
      PYNEURAL_UNROLL
      for (int half = 0; half < 2; ++half) {
        struct alignas(kCopyBytes) Pair {
          double of_k[2];
        };
        const Pair pair = *reinterpret_cast<const Pair*>(
            Layout::at(chunk, half * 8 + g, t * kCopyBytes) + first * Layout::kBytes);
        PYNEURAL_UNROLL
        for (int k = 0; k < 2; ++k)
          of[side == Side::left ? k * 2 + half : half * 2 + k] = pair.of_k[k];
      }
    } else if constexpr (sizeof(T) == 8) {
      PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q)
        of[q] = *reinterpret_cast<const double*>(
            Layout::at(chunk, t * 2 + of_k(q), (first + of_rows(q) * 8 + g) * 8));
    } else if constexpr (along == Along::k) {
      const int row = of_rows(lane / 8) * 8 + lane % 8;
      tensor_core::load_matrices(of, Layout::at(chunk, row, (s * 2 + of_k(lane / 8)) * kCopyBytes) +
                                         first * Layout::kBytes);
    } else if constexpr (sizeof(T) == 2) {
      const int k = of_k(lane / 8) * 8 + lane % 8;
      tensor_core::load_matrices_transposed(
          of, Layout::at(chunk, k, (first + of_rows(lane / 8) * 8) * 2) + s * 16 * Layout::kBytes);
    } else {
      PYNEURAL_UNROLL
      for (int q = 0; q < 4; ++q)
        of[q] = *reinterpret_cast<const uint32_t*>(
            Layout::at(chunk, t, (first + of_rows(q) * 8 + g) * 4) +
            (s * 8 + of_k(q) * 4) * Layout::kBytes);
    }
  }
  return words;
}

}  // namespace pyneural::dense
