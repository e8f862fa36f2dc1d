// A triangle of a square matrix in panels of some columns, each as high as the triangle is there:
// half the memory of the matrix, and a tile's elements lie together.
#pragma once

#include "panels.h"

namespace pyneural {

// Upper triangle of a matrix [size, size]: element (i, j), i <= j, in row i of panel j / kWidth.
struct TrianglePanels {
  // A panel, of one or more tiles side by side: as many serve the rows that a product reads.
  static constexpr int64_t kWidth = std::max<int64_t>(32, panel_width<double>());

  static int64_t count(int64_t size) { return (size + kWidth - 1) / kWidth; }
  static int64_t storage(int64_t size) { return begin(count(size)); }
  // Where panel i begins, of rows of kWidth.
  static int64_t begin(int64_t i) { return kWidth * kWidth * i * (i + 1) / 2; }
};

}  // namespace pyneural
