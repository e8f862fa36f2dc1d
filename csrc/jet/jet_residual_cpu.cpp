// The residuals of an equation on the CPU: their mean square with its gradient, their values and
// gradients, their Jacobian, and its Gram matrix.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>
#include <unistd.h>

#include "../common/dispatch.h"
#include "../common/results.h"
#include "../common/symmetric_update.h"
#include "jet_call.h"
#include "residual_pass.h"

namespace pyneural::jet {
namespace {

// The arguments of a call of which a thread makes its ResidualPass.
template <class T>
struct ProgramCall {
  const ResidualCall& checked;
  Call<T> call;
  at::Tensor points, coefficients, columns;

  ProgramCall(const ResidualCall& checked, const ResidualArguments& a)
      : checked(checked),
        call(checked.network, a.network),
        points(a.network.x.contiguous()),
        coefficients(a.coefficients.contiguous()),
        columns(a.columns ? a.columns->contiguous() : at::Tensor()) {}

  const T* x() const { return points.template const_data_ptr<T>(); }
  int64_t storage() const { return ResidualPass<T>::storage(checked.program, call.shape.points); }
  ResidualPass<T> pass(Tile<T>& tile, T* storage) const {
    return {checked.program, coefficients.template const_data_ptr<T>(),
            data_or_null<const T>(columns), tile, storage};
  }
};

struct Gradients {
  at::Tensor x, parameters, coefficients, columns;  // without elements where not wanted
};

// The gradients of a function of the residuals that is a sum over the points: add(pass, first, n,
// e, grad) adds that for residual e at the tile's points to grad, and each(share, pass) is called
// for every tile before. Sums over the tiles are in double: in float they would stall where a tile
// is little beside the sum.
template <class T, class Each, class Add>
Gradients differentiate(ProgramCall<T>& program, const ResidualArguments& a,
                        const ResidualMask& mask, const Each& each, const Add& add) {
  Call<T>& call = program.call;
  const Network& network = call.network;
  const at::Tensor& x = a.network.x;
  const bool with_x = mask[0], with_parameters = mask[1], with_columns = mask[2] && a.columns;
  const int64_t P = with_parameters ? network.parameters : 0;
  const int64_t Q = with_parameters ? a.coefficients.size(0) : 0;
  const std::vector<int64_t> offset = parameter_offsets(network);
  Gradients result{empty_if(with_x, x.sizes(), x)};
  result.columns =
      with_columns ? at::zeros(a.columns->sizes(), x.options()) : empty_if(false, {}, x);
  const at::Tensor partial =
      at::zeros({call.shares.count(), P + Q}, x.options().dtype(at::kDouble));
  T* const grad_x_to = data_or_null<T>(result.x);
  constexpr bool kConverts = !std::is_same_v<T, double>;
  const int64_t of_program = program.storage(), of_x = with_x ? call.input_grad_storage() : 0;
  const int64_t of_tile = kConverts ? P + Q : 0, extra = of_program + of_x + of_tile;
  double* const all_sums = partial.data_ptr<double>();
  call.run(extra, [&](Tile<T>& tile, T* scratch, const auto& for_tiles) {
    T *const tile_grad_x = scratch + of_program, *const tile_grad = tile_grad_x + of_x;
    ResidualPass<T> pass = program.pass(tile, scratch);
    for_tiles([&](int64_t share, int64_t first, int64_t n) {
      double* const sums = all_sums + share * (P + Q);
      T* grad;
      if constexpr (kConverts)
        grad = tile_grad;
      else
        grad = sums;
      const ResidualGrads<T> grads{with_parameters ? grad + P : nullptr,
                                   data_or_null<T>(result.columns)};
      tile.load(program.x(), first, n);
      tile.forward();
      pass.forward(first, n);
      each(share, pass);
      if (!with_x && !with_parameters && !with_columns) return;
      std::fill_n(tile_grad, of_tile, T(0));
      pass.backward(grads, [&](int64_t e, T* to) { add(pass, first, n, e, to); });
      if (!with_x && !with_parameters) return;
      tile.backward([&](int64_t l, const T* grad_z, const T* inputs) {
        if (with_parameters) add_parameter_grad(tile, l, grad_z, inputs, grad + offset[l]);
        if (l > 0 || !with_x) return;
        tile.input_grad(grad_z, tile_grad_x);
        pass.add_input_grad(tile_grad_x);
        store_input_grad(tile, tile_grad_x, first, n, grad_x_to);
      });
      for (int64_t i = 0; i < of_tile; ++i) sums[i] += static_cast<double>(tile_grad[i]);
    });
  });
  const at::Tensor gradient = sum_parts(partial).to(x.scalar_type());
  result.parameters = gradient.narrow(0, 0, P);
  result.coefficients = gradient.narrow(0, P, Q).clone();
  return result;
}

Five jet_mlp_loss(const LossArguments& a) {
  const ResidualCall checked = check_jet_mlp_loss(a);
  const at::Tensor& x = a.forward.network.x;
  const at::Tensor loss = at::empty({}, x.options());
  Gradients grads;
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    ProgramCall<T> program(checked, a.forward);
    std::vector<double> sums(program.call.shares.count());
    const T scale = T(1) / static_cast<T>(checked.network.points);
    grads = differentiate(
        program, a.forward, a.output_mask,
        [&](int64_t share, const ResidualPass<T>& pass) { sums[share] += pass.sum_of_squares(); },
        [&](const ResidualPass<T>& pass, int64_t, int64_t n, int64_t e, T* grad) {
          for (int64_t p = 0; p < n; ++p) grad[p] += 2 * scale * pass.residual(e)[p];
        });
    double sum = 0;
    for (const double part : sums) sum += part;
    loss.fill_(sum / static_cast<double>(checked.network.points));
  });
  return {loss, grads.x, grads.parameters, grads.coefficients, grads.columns};
}

at::Tensor jet_mlp_residual(const ResidualArguments& a) {
  const ResidualCall checked = check_jet_mlp_residual(a);
  const int64_t N = checked.network.points, E = checked.equations();
  at::Tensor result = at::empty({E, N}, a.network.x.options());
  if (N == 0) return result;
  dispatch_floating(result, [&](auto type) {
    using T = decltype(type);
    ProgramCall<T> program(checked, a);
    T* const to = result.data_ptr<T>();
    program.call.run(program.storage(), [&](Tile<T>& tile, T* scratch, const auto& for_tiles) {
      ResidualPass<T> pass = program.pass(tile, scratch);
      for_tiles([&](int64_t, int64_t first, int64_t n) {
        tile.load(program.x(), first, n);
        tile.forward();
        pass.forward(first, n);
        for (int64_t e = 0; e < E; ++e) std::copy_n(pass.residual(e), n, to + e * N + first);
      });
    });
  });
  return result;
}

Four jet_mlp_residual_backward(const ResidualBackwardArguments& b) {
  const ResidualCall checked = check_jet_mlp_residual_backward(b);
  const int64_t N = checked.network.points;
  const at::Tensor& x = b.forward.network.x;
  const ResidualMask& mask = b.output_mask;
  if (N == 0)
    return {empty_if(mask[0], x.sizes(), x),
            empty_if(mask[1], {checked.network.parameters}, x).zero_(),
            empty_if(mask[1], b.forward.coefficients.sizes(), x).zero_(),
            empty_if(mask[2] && b.forward.columns,
                     b.forward.columns ? b.forward.columns->sizes() : at::IntArrayRef{}, x)};
  Gradients grads;
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    ProgramCall<T> program(checked, b.forward);
    const at::Tensor given = b.grad_output.contiguous();
    const T* const from = given.const_data_ptr<T>();
    grads = differentiate(
        program, b.forward, mask, [](int64_t, const ResidualPass<T>&) {},
        [&](const ResidualPass<T>&, int64_t first, int64_t n, int64_t e, T* grad) {
          for (int64_t p = 0; p < n; ++p) grad[p] += from[e * N + first + p];
        });
  });
  return {grads.x, grads.parameters, grads.coefficients, grads.columns};
}

// Where a tile's part of J^T goes: element (m, e, p) at data[m * row_stride + e * equation_stride +
// p].
template <class T>
struct JacobianBlock {
  T* data;
  int64_t row_stride, equation_stride;
};

// J^T of a tile whose n points begin at `first`, its parameters and then its coefficients; r [E,
// n].
template <class T>
void tile_jacobian(const ProgramCall<T>& program, Tile<T>& tile, ResidualPass<T>& pass,
                   const std::vector<int64_t>& offset, int64_t first, int64_t n,
                   const JacobianBlock<T>& to, T* r) {
  tile.load(program.x(), first, n);
  tile.forward();
  pass.forward(first, n);
  for (int64_t e = 0; e < program.checked.equations(); ++e) {
    T* const rows = to.data + e * to.equation_stride;
    std::copy_n(pass.residual(e), n, r + e * to.equation_stride);
    pass.backward({}, [&](int64_t other, T* grad) {
      for (int64_t p = 0; other == e && p < n; ++p) grad[p] += T(1);
    });
    pass.store_coefficient_grads(rows + offset.back() * to.row_stride, program.coefficients.size(0),
                                 to.row_stride);
    tile.backward([&](int64_t l, const T* grad_z, const T* a) {
      store_point_grads(tile, l, grad_z, a, n, rows + offset[l] * to.row_stride, to.row_stride);
    });
  }
}

Two jet_mlp_residual_jacobian(const ResidualArguments& a) {
  const ResidualCall checked = check_jet_mlp_residual_jacobian(a);
  const int64_t N = checked.network.points, E = checked.equations();
  const int64_t M = checked.network.parameters + a.coefficients.size(0);
  const auto options = a.network.x.options();
  at::Tensor residuals = at::empty({E, N}, options), jacobian = at::empty({M, E, N}, options);
  if (N == 0) return {residuals, jacobian};
  const std::vector<int64_t> offset = parameter_offsets(checked.network);
  dispatch_floating(jacobian, [&](auto type) {
    using T = decltype(type);
    ProgramCall<T> program(checked, a);
    T *const r = residuals.data_ptr<T>(), *const to = jacobian.data_ptr<T>();
    program.call.run(program.storage(), [&](Tile<T>& tile, T* scratch, const auto& for_tiles) {
      ResidualPass<T> pass = program.pass(tile, scratch);
      for_tiles([&](int64_t, int64_t first, int64_t n) {
        tile_jacobian(program, tile, pass, offset, first, n, {to + first, E * N, N}, r + first);
      });
    });
  });
  return {residuals, jacobian};
}

// Refuses a matrix that the machine has no memory for, before the system ends the process. Limits
// of a container or job, which lie in files, are read in Python (pyneural/ops/jet/checks.py).
void check_gram_memory(double bytes, int64_t rows) {
  const double memory =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const auto gibibytes = [](double size) { return size / (int64_t{1} << 30); };
  TORCH_CHECK_VALUE(bytes <= memory,
                    "jet_mlp_gram: weights: expected a Gram matrix that fits into the ",
                    gibibytes(memory), " GiB of memory, got ", rows,
                    " parameters and coefficients, for which it takes ", gibibytes(bytes),
                    " GiB; use jet_mlp_residual_jacobian on chunks of points, or conjugate "
                    "gradients on jet_mlp_residual");
}

Three jet_mlp_gram(const ResidualArguments& a) {
  const ResidualCall checked = check_jet_mlp_gram(a);
  const int64_t N = checked.network.points, E = checked.equations();
  const int64_t M = checked.network.parameters + a.coefficients.size(0), rows = M + 1;
  const auto options = a.network.x.options();
  const double elements = static_cast<double>(M) * static_cast<double>(M);
  check_gram_memory(elements * (a.network.x.element_size() + sizeof(double) / 2.0), M);
  const at::Tensor loss = at::empty({}, options), gradient = at::empty({M}, options);
  const at::Tensor gram = at::empty({M, M}, options);
  const std::vector<int64_t> offset = parameter_offsets(checked.network);
  dispatch_floating(gram, [&](auto type) {
    using T = decltype(type);
    ProgramCall<T> program(checked, a);
    Call<T>& call = program.call;
    // Slabs of some tiles, as many for each thread: J^T and, as one more row, r, whose products are
    // the gradient and the loss. In a large one threads wait less often for each other; more than
    // kSlab bytes push the matrix out of the caches; where there are many threads, up to kMost
    // times as many are worth the work that all of them then have.
    constexpr int64_t kSlab = int64_t{8} << 20, kLeastDepth = 512, kMost = 4;
    const int64_t tile_points = call.shape.points;
    const int64_t depth =
        std::max<int64_t>(kSlab / (rows * static_cast<int64_t>(sizeof(double))), kLeastDepth);
    const int64_t wanted = std::max(depth / (E * tile_points), int64_t{1});
    const int64_t tiles = std::min({call.tiles, round_up(wanted, call.threads), kMost * wanted});
    const int64_t row_stride = odd_lines<double>(tiles * tile_points * E);
    const int64_t threads = useful_threads(elements / 2 * static_cast<double>(E * N));
    double* const slab = call.scratch.template take<double>(rows * row_stride);
    double* const packed = call.scratch.template take<double>(threads * SymmetricSum::scratch());
    SymmetricSum sum(rows, call.scratch.template take<double>(SymmetricSum::storage(rows)));
    // In float32 a tile's part is converted on its way to the slab.
    constexpr bool kConverts = !std::is_same_v<T, double>;
    const int64_t of_program = program.storage();
    const auto storage =
        call.take_storage(of_program + (kConverts ? rows * E * tile_points : int64_t{0}));
    for (int64_t tile0 = 0; tile0 < call.tiles; tile0 += tiles) {
      const int64_t tile1 = std::min(tile0 + tiles, call.tiles);
      const int64_t begin = tile0 * tile_points;
      const int64_t points = std::min(tile1 * tile_points, N) - begin;
      const Shares shares(tile1 - tile0, call.threads);
      call.run(storage, tile0, shares, [&](Tile<T>& tile, T* scratch, const auto& for_tiles) {
        ResidualPass<T> pass = program.pass(tile, scratch);
        for_tiles([&](int64_t, int64_t first, int64_t n) {
          double* const to = slab + first - begin;
          if constexpr (kConverts) {
            T* const part = scratch + of_program;
            tile_jacobian(program, tile, pass, offset, first, n, {part, E * n, n},
                          part + M * E * n);
            for (int64_t m = 0; m < rows; ++m)
              for (int64_t e = 0; e < E; ++e)
                std::copy_n(part + (m * E + e) * n, n, to + m * row_stride + e * points);
          } else {
            tile_jacobian(program, tile, pass, offset, first, n, {to, row_stride, points},
                          to + M * row_stride);
          }
        });
      });
      sum.add(slab, row_stride, E * points, threads, packed);
    }
    const double scale = 1 / static_cast<double>(N);
    sum.store(scale, M, gram.data_ptr<T>(), M, threads);
    for (int64_t m = 0; m < M; ++m)
      gradient.data_ptr<T>()[m] = static_cast<T>(scale * sum.at(m, M));
    loss.fill_(scale * sum.at(M, M));
  });
  return {loss, gradient, gram};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("jet_mlp_loss", FlatOp<jet_mlp_loss, LossSignature<Five>>::call);
  m.impl("jet_mlp_residual", FlatOp<jet_mlp_residual, ResidualSignature<at::Tensor>>::call);
  m.impl("jet_mlp_residual_backward",
         FlatOp<jet_mlp_residual_backward, ResidualBackwardSignature<Four>>::call);
  m.impl("jet_mlp_residual_jacobian",
         FlatOp<jet_mlp_residual_jacobian, ResidualSignature<Two>>::call);
  m.impl("jet_mlp_gram", FlatOp<jet_mlp_gram, ResidualSignature<Three>>::call);
}

}  // namespace pyneural::jet
