// Matrix products of the kernels: what a word of an operand is, and the two products of words.
//
// Of a product a b the left operand a is read word by word, the right one b along its rows. Letters
// as in attention_check.h; a depth, and the rows of b, are counted in words, which hold kDepth
// elements along the summed dimension. Scores are in units of log2: scale log2(e) multiplies either
// the queries or keys as they are loaded or, where kScalesScores, the scores.
#pragma once

#include "operands.h"
#include "scores.h"

namespace pyneural::attention::cpu {

// c [rows][kKeyBlock] = factor a b for rows [begin, end) of a [.][depth] and the panels of b
// [depth][columns], as far as a tile of rows sees columns: limit(row) of them.
template <class Products, class Limit>
void multiply_panels(const Rows<typename Products::Word>& a, int64_t begin, int64_t end,
                     int64_t depth, const typename Products::Word* panels, int64_t columns,
                     typename Products::T factor, const Limit& limit, typename Products::T* c) {
  using T = typename Products::T;
  for (int64_t column = 0; column < columns; column += panel_width<T>())
    for_row_tiles(begin, end, [&](int64_t first, int64_t rows) {
      const int64_t count = limit(first + rows - 1) - column;
      if (count <= 0) return;
      const int64_t vectors =
          std::min<int64_t>(kTileVectors, (count + lanes<T>() - 1) / lanes<T>());
      Products::multiply({a.from(first).data, a.stride, 1}, rows, depth,
                         {panels + column * depth, panel_width<T>(), vectors}, factor,
                         c + (first - begin) * kKeyBlock + column, kKeyBlock);
    });
}

// A word is an element of the accumulator type.
template <class In_>
struct ElementProducts {
  using In = In_;
  using T = Accumulator<In>;
  using Word = T;
  static constexpr int kDepth = 1;
  static constexpr bool kScalesScores = false;

  static int64_t words(int64_t width) { return width; }
  // Of a row that is both a left and a right operand.
  static int64_t left_stride(int64_t width) { return padded<T>(width); }

  // Rows times `factor`: in place if they already have that form, else copied to `scratch`.
  static Rows<T> left_rows(const In* from, int64_t stride, int64_t rows, int64_t width, T factor,
                           bool check, T* scratch) {
    if constexpr (std::is_same_v<In, T>) {
      if (factor == T(1) && stride == width && width % lanes<T>() == 0)
        return {from, width, !check || cpu::is_finite(from, rows * width)};
    }
    const bool all_finite = load_rows(from, stride, rows, width, factor, scratch);
    return {scratch, padded<T>(width), all_finite || !check};
  }
  static Rows<T> right_rows(const In* from, int64_t stride, int64_t rows, int64_t width, bool check,
                            T* scratch) {
    return left_rows(from, stride, rows, width, T(1), check, scratch);
  }
  // The same rows as a right operand, [words(rows)][padded(width)].
  static Rows<T> right_of(const Rows<T>& left, const In*, int64_t, int64_t, int64_t, bool, T*) {
    return left;
  }
  // Weights [rows][kKeyBlock] as a left operand, along the keys or along the rows.
  static const T* left_of(const T* weights, int64_t, int64_t, T*) { return weights; }
  static const T* left_transposed(const T* weights, int64_t, int64_t, T*) { return weights; }

  // c = a b for a panel of b.
  static void multiply(const Strided<T>& a, int64_t rows, int64_t depth, const Panel<T>& b, T, T* c,
                       int64_t ldc) {
    pyneural::multiply<T>(a, rows, depth, b, c, ldc);
  }
  // c [rows] += a b for b [depth]. Where b has an infinity or a NaN, products with a weight of 0,
  // which would be NaN, are left out.
  static void add(const Strided<T>& a, int64_t rows, int64_t depth, const Rows<T>& b, T* c,
                  int64_t ldc) {
    if (b.is_finite) {
      for (int64_t e = 0; e < b.stride; e += panel_width<T>()) {
        const int64_t vectors = std::min<int64_t>(kTileVectors, (b.stride - e) / lanes<T>());
        pyneural::multiply<T>(a, rows, depth, {b.data + e, b.stride, vectors}, c + e, ldc,
                              /*accumulate=*/true);
      }
      return;
    }
    // Rounded as the product above is.
    for (int64_t m = 0; m < rows; ++m)
      for (int64_t e = 0; e < b.stride; e += panel_width<T>()) {
        const int64_t width = std::min(panel_width<T>(), b.stride - e);
        T sum[panel_width<T>()] = {};
        for (int64_t k = 0; k < depth; ++k) {
          const T factor = *a.at(m, k), *const row = b.data + k * b.stride + e;
          for (int64_t i = 0; factor != T(0) && i < width; ++i) sum[i] += factor * row[i];
        }
        for (int64_t i = 0; i < width; ++i) c[m * ldc + e + i] += sum[i];
      }
  }
};

}  // namespace pyneural::attention::cpu
