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

// c [rows][kScoresStride] = factor a b for rows [begin, end) of a [.][depth] and the panels of b
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
                         c + (first - begin) * kScoresStride<T> + column, kScoresStride<T>);
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
  // Lines of the narrow panels of AVX2 lie apart by the length of a row, often in the same sets of
  // the first-level cache; those of AVX-512 are a row or a large part of it.
  static constexpr bool kPacks = kTileVectors == 2;
  static constexpr int64_t kManyUses = 4 * kTileRows;

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
  // For products with `uses` rows: packed where these pay for it.
  static Panels<T> right_rows(const In* from, int64_t stride, int64_t rows, int64_t width,
                              bool check, int64_t uses, T* scratch) {
    if (kPacks && uses >= kManyUses) {
      Panels<T> packed = pack_panels(from, stride, rows, width, scratch);
      packed.is_finite |= !check;
      return packed;
    }
    return in_place(left_rows(from, stride, rows, width, T(1), check, scratch), width);
  }
  // The same rows as a right operand.
  static Panels<T> right_of(const Rows<T>& left, const In*, int64_t, int64_t rows, int64_t width,
                            bool, T* scratch) {
    if constexpr (!kPacks) return in_place(left, width);
    Panels<T> packed = pack_panels(left.data, left.stride, rows, width, scratch);
    packed.is_finite = left.is_finite;
    return packed;
  }
  // Weights [rows][kScoresStride] as a left operand, along the keys or along the rows.
  static const T* left_of(const T* weights, int64_t, int64_t, T*) { return weights; }
  static const T* left_transposed(const T* weights, int64_t, int64_t, T*) { return weights; }

  // c = a b for a panel of b.
  static void multiply(const Strided<T>& a, int64_t rows, int64_t depth, const Panel<T>& b, T, T* c,
                       int64_t ldc) {
    pyneural::multiply<T>(a, rows, depth, b, c, ldc);
  }
  // c [rows] += a b for b [depth]. Where b has an infinity or a NaN, products with a weight of 0,
  // which would be NaN, are left out.
  static void add(const Strided<T>& a, int64_t rows, int64_t depth, const Panels<T>& b, T* c,
                  int64_t ldc) {
    if (b.is_finite) {
      const T* panel = b.data;
      for (int64_t e = 0; e < b.width; e += panel_width<T>(), panel += b.panel_stride) {
        const int64_t vectors = std::min<int64_t>(kTileVectors, (b.width - e) / lanes<T>());
        pyneural::multiply<T>(a, rows, depth, {panel, b.row_stride, vectors}, c + e, ldc,
                              /*accumulate=*/true);
      }
      return;
    }
    // Rounded as the product above is.
    for (int64_t m = 0; m < rows; ++m) {
      const T* panel = b.data;
      for (int64_t e = 0; e < b.width; e += panel_width<T>(), panel += b.panel_stride) {
        const int64_t width = std::min(panel_width<T>(), b.width - e);
        T sum[panel_width<T>()] = {};
        for (int64_t k = 0; k < depth; ++k) {
          const T factor = *a.at(m, k), *const row = panel + k * b.row_stride;
          for (int64_t i = 0; factor != T(0) && i < width; ++i) sum[i] += factor * row[i];
        }
        for (int64_t i = 0; i < width; ++i) c[m * ldc + e + i] += sum[i];
      }
    }
  }

 private:
  static Panels<T> in_place(const Rows<T>& rows, int64_t width) {
    return {rows.data, rows.stride, panel_width<T>(), padded<T>(width), rows.is_finite};
  }
};

}  // namespace pyneural::attention::cpu
