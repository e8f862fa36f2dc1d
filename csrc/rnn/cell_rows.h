// The cells as functions of a row of units: all of a layer's kernels that is compiled for each.
#pragma once

#include "../common/panels.h"
#include "../common/vector_math.h"
#include "cell.h"

namespace pyneural::rnn {

constexpr int kMostBlocks = 4;  // of a cell

// A row's elements of what a step reads and writes, each [units]; null where there is none.
template <class T>
struct StepRow {
  const T *z, *bias;  // [B] blocks, a panel's width apart
  const T* before;    // h of the step before
  T *c, *h, *y;
  T* saved;  // [kSaved], `hidden` apart
};
template <class T>
struct GradientRow {
  const T* saved;  // [kSaved], `hidden` apart
  const T *y, *before, *c_before, *grad_y;
  T *dh, *dc;
  T* grad;  // [B] of z, `hidden` apart
};

template <class T>
struct CellRows {
  int gates, blocks, saved;
  bool has_cell_state;
  void (*step)(int64_t units, int64_t hidden, const StepRow<T>& row);
  void (*differentiate)(int64_t units, int64_t hidden, const GradientRow<T>& row);

  // Where the input product of a gate goes: of the last gate to the last block, as in every cell.
  int input_block(int gate) const { return gate + 1 < gates ? gate : blocks - 1; }
  // Gates whose input product's block is that of the hidden product.
  int joint() const { return blocks == gates ? gates : gates - 1; }
};

template <class Cell, class T>
void step_row(int64_t units, int64_t hidden, const StepRow<T>& row) {
  constexpr int kBlocks = Cell::kBlocks, kSaved = Cell::kSaved;
  constexpr int64_t kWidth = panel_width<T>();
  for (int64_t u = 0; u < units; u += lanes<T>()) {
    const auto count = std::min(lanes<T>(), units - u);
    Vec<T> block[kBlocks], saved[kSaved + 1], c;
    for (int b = 0; b < kBlocks; ++b)
      block[b] = Vec<T>::loadu(row.z + b * kWidth + u) + Vec<T>::loadu(row.bias + b * kWidth + u);
    if constexpr (Cell::kHasCellState) c = Vec<T>::loadu(row.c + u, count);
    const Vec<T> h = Cell::step(block, Vec<T>::loadu(row.before + u, count), c, saved);
    h.store(row.h + u, count);
    h.store(row.y + u, count);
    if constexpr (Cell::kHasCellState) c.store(row.c + u, count);
    if (row.saved)
      for (int k = 0; k < kSaved; ++k) saved[k].store(row.saved + k * hidden + u, count);
  }
}

template <class Cell, class T>
void differentiate_row(int64_t units, int64_t hidden, const GradientRow<T>& row) {
  constexpr int kBlocks = Cell::kBlocks, kSaved = Cell::kSaved;
  for (int64_t u = 0; u < units; u += lanes<T>()) {
    const auto count = std::min(lanes<T>(), units - u);
    const auto load = [&](const T* from) { return Vec<T>::loadu(from + u, count); };
    Vec<T> saved[kSaved + 1], grad[kBlocks];
    for (int k = 0; k < kSaved; ++k) saved[k] = load(row.saved + k * hidden);
    At<Vec<T>> here{load(row.y), load(row.before), Vec<T>(T(0))};
    Vec<T> dh = load(row.dh) + load(row.grad_y), dc(T(0));
    if constexpr (Cell::kHasCellState) {
      here.c_before = load(row.c_before);
      dc = load(row.dc);
    }
    Cell::gradients(saved, here, dh, dc, grad);
    for (int b = 0; b < kBlocks; ++b) grad[b].store(row.grad + b * hidden + u, count);
    dh.store(row.dh + u, count);
    if constexpr (Cell::kHasCellState) dc.store(row.dc + u, count);
  }
}

template <class T>
CellRows<T> cell_rows(CellKind kind) {
  CellRows<T> rows{};
  visit_cell(kind, [&](auto cell) {
    using Cell = decltype(cell);
    static_assert(Cell::kBlocks <= kMostBlocks);
    static_assert(Cell::input_block(Cell::kGates - 1) == Cell::kBlocks - 1);
    rows = {Cell::kGates,        Cell::kBlocks,     Cell::kSaved,
            Cell::kHasCellState, step_row<Cell, T>, differentiate_row<Cell, T>};
  });
  return rows;
}

}  // namespace pyneural::rnn
