// The launches of csrc/jet/jet_residual_cuda.cu and jet_gram_cuda.cu behind functions that ctypes
// can call.
#include <cuda_runtime_api.h>

#include <memory>

#include "csrc/jet/jet_gram_cuda.cu"
#include "csrc/jet/jet_residual_cuda.cu"
#include "fenced.h"
#include "guarded.h"
#include "layers.h"

using namespace pyneural;
using namespace pyneural::jet;

namespace {

enum Failure { cuda = 1, arguments, overrun };

int64_t last_splits, last_tile_points, last_shared_slab;

// What is the same for all types: the machine, the equation and the sizes.
struct Problem {
  int multiprocessors, shared_bytes, order;
  int64_t points_at_once;  // 0: as many as on a GPU
  const int64_t* derivatives;
  int64_t elements;
  const double* operator_coefficients;
  int64_t operator_coefficient_count;
  const char* activation;
  int64_t layers;
  const int64_t* widths;
  int64_t points;
  int64_t has_jet_x;
  const int64_t* residual;
  int64_t residual_elements;
  const double* constants;
  int64_t constant_count, coefficients, columns;
};

template <class T>
int run(const Problem& problem, const T* x, const T* parameters, const T* coefficients,
        const T* columns, T* residuals, T* jacobian, T* mean, T* gradient, T* gram) {
  cuda_on_host::multiprocessors = problem.multiprocessors;
  cuda_on_host::shared_bytes = problem.shared_bytes;
  cuda_on_host::order = static_cast<cuda_on_host::Order>(problem.order);
  auto params = std::make_unique<ResidualJacobianParams<T>>();
  JetParams<T>& jet = params->jet;
  const DerivativeList list{
      {problem.derivatives, static_cast<size_t>(problem.elements)},
      {problem.operator_coefficients, static_cast<size_t>(problem.operator_coefficient_count)}};
  const int64_t inputs = problem.widths[0], N = problem.points;
  if (make_plan(list, problem.has_jet_x ? kMaxInput + 1 : inputs, &jet.plan).kind !=
      PlanError::none)
    return arguments;
  if (!find_activation(problem.activation, &jet.activation)) return arguments;
  ResidualProgram program;
  std::string error;
  const ResidualLimits limits{jet.plan.outputs, problem.widths[problem.layers],
                              problem.has_jet_x ? 0 : inputs, problem.coefficients,
                              problem.columns};
  if (!read_residual({problem.residual, static_cast<size_t>(problem.residual_elements)},
                     {problem.constants, static_cast<size_t>(problem.constant_count)}, limits,
                     &program, &error))
    return arguments;
  const Layers<T> kept(problem.layers, problem.widths, parameters);
  const Fenced<T> points(x, (problem.has_jet_x ? jet.plan.channels : 1) * N * inputs);
  const Fenced<T> given(coefficients, problem.coefficients),
      rows_given(columns, problem.columns * N);
  const std::vector<int64_t> words = residual_words(program, jet.plan);
  // With 16 bytes' alignment, as the steps have it.
  std::vector<ResidualStep> memory((words.size() + 1) / 2);
  std::memcpy(memory.data(), words.data(), words.size() * sizeof(int64_t));
  const int64_t E = static_cast<int64_t>(program.residuals.size());
  jet.layers = kept.pointers();
  jet.points = N;
  jet.has_jet_x = problem.has_jet_x;
  jet.x = points.data();
  params->steps = memory.data();
  params->values = static_cast<int32_t>(program.values.size());
  params->equations = static_cast<int32_t>(E);
  params->residuals = reinterpret_cast<const int64_t*>(memory.data() + params->values);
  params->coefficient_count = problem.coefficients;
  params->coefficients = given.data();
  params->columns = rows_given.data();
  const int64_t M = jet.layers.parameters() + problem.coefficients, rows = M + 1;
  const int64_t of_point = rows * E * static_cast<int64_t>(sizeof(T));
  const int64_t at_once = gram && problem.points_at_once ? std::min(problem.points_at_once, N)
                          : gram                         ? points_at_a_time(N, of_point)
                                                         : N;
  if (params->configure(at_once)) return cuda;
  last_tile_points = jet.tile_points;
  last_shared_slab = jet.tile.shared_slab;
  Guarded<T> scratch(jet.tile.shared_slab ? 0 : jet.tile.blocks * jet.tile.slab);
  jet.scratch = scratch.data();
  if (!gram) {
    params->count = params->equation_stride = N;
    params->row_stride = E * N;
    params->jacobian = jacobian;
    params->r = residuals;
    if (params->launch(nullptr)) return cuda;
    return scratch.overrun() ? overrun : 0;
  }
  GramParams<T> sum;
  sum.rows = rows;
  if (sum.configure(E * at_once)) return cuda;
  last_splits = sum.splits;
  Guarded<double> sums(sum.sums_size());
  std::fill_n(sums.data(), sum.sums_size(), 0);
  sum.sums = sums.data();
  sum.gram = gram;
  sum.gradient = gradient;
  sum.mean = mean;
  Guarded<T> block(rows * gram_row_stride<T>(E * at_once));
  // The guard's memory begins where the allocator of C++ says: at 16 bytes.
  if (launch_gram(*params, sum, block.data(), at_once, nullptr)) return cuda;
  return scratch.overrun() || sums.overrun() || block.overrun() ? overrun : 0;
}

}  // namespace

#define EXPORT(T)                                                                            \
  extern "C" int run_##T(const Problem* problem, const T* x, const T* parameters,            \
                         const T* coefficients, const T* columns, T* residuals, T* jacobian, \
                         T* mean, T* gradient, T* gram) {                                    \
    return run(*problem, x, parameters, coefficients, columns, residuals, jacobian, mean,    \
               gradient, gram);                                                              \
  }
EXPORT(float)
EXPORT(double)

// The product alone: X [rows, depth] to its Gram matrix and the rest, columns `at_once` of X.
#define EXPORT_PRODUCT(T)                                                               \
  extern "C" int gram_##T(int multiprocessors, int order, int64_t rows, int64_t depth,  \
                          int64_t at_once, const T* x, T* mean, T* gradient, T* gram) { \
    cuda_on_host::multiprocessors = multiprocessors;                                    \
    cuda_on_host::order = static_cast<cuda_on_host::Order>(order);                      \
    GramParams<T> sum;                                                                  \
    sum.rows = rows;                                                                    \
    if (sum.configure(at_once)) return cuda;                                            \
    last_splits = sum.splits;                                                           \
    Guarded<double> sums(sum.sums_size());                                              \
    std::fill_n(sums.data(), sum.sums_size(), 0);                                       \
    sum.sums = sums.data();                                                             \
    sum.gram = gram, sum.gradient = gradient, sum.mean = mean;                          \
    const Fenced<T> given(x, rows * depth);                                             \
    for (int64_t first = 0; first < depth; first += at_once) {                          \
      sum.set_columns(given.data() + first, depth, std::min(at_once, depth - first));   \
      if (sum.launch_add(nullptr)) return cuda;                                         \
    }                                                                                   \
    if (sum.launch_store(nullptr)) return cuda;                                         \
    return sums.overrun() ? overrun : 0;                                                \
  }
EXPORT_PRODUCT(float)
EXPORT_PRODUCT(double)

// Of the last run: splits of the columns, points of a tile, whether its slab was shared memory.
extern "C" void choices_of_last_run(int64_t* values) {
  values[0] = last_splits;
  values[1] = last_tile_points;
  values[2] = last_shared_slab;
}
