// A continuous flow on the CPU: forward and backward.
//
// Blocks of points are integrated one by one, each with the steps that it needs. Threads take
// shares of the blocks, each with a gradient, added in the order of the shares.
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "../common/dispatch.h"
#include "../common/results.h"
#include "../common/shares.h"
#include "block.h"

namespace pyneural::continuous_flow {
namespace {

std::vector<at::Tensor> contiguous(at::TensorList tensors) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.contiguous());
  return result;
}

template <class T>
int64_t threads_for(const Flow& flow) {
  constexpr double kEvaluations = 40;  // of a short path
  const int64_t blocks = (flow.rows + Block<T>::points() - 1) / Block<T>::points();
  const double work = static_cast<double>(flow.rows) * static_cast<double>(flow.parameters);
  return std::min(blocks, useful_threads(kEvaluations * work));
}

// Shares of the blocks of all rows.
template <class T>
Shares shares_of(const Flow& flow, int64_t threads) {
  return Shares::with_sums((flow.rows + Block<T>::points() - 1) / Block<T>::points(), threads,
                           flow.parameters * static_cast<int64_t>(sizeof(T)));
}

// body(share, block, first row, number of rows) for each block.
template <class T, class Body>
void for_blocks(const Flow& flow, const Field<T>& field, int64_t threads, const Shares& shares,
                bool with_backward, const Body& body) {
  const int64_t points = Block<T>::points();
  parallel_takers(shares.count(), threads, [&](int64_t, Tasks& tasks) {
    Scratch scratch;
    Block<T> block(flow, field, with_backward, scratch);
    while (const auto share = tasks.take())
      for (int64_t i = shares.begin(*share); i < shares.end(*share); ++i)
        body(*share, block, i * points, std::min(points, flow.rows - i * points));
  });
}

template <class T>
T* at_row(T* rows, int64_t row, int64_t columns) {
  return rows ? rows + row * columns : nullptr;
}

Two continuous_flow(const Arguments& a) {
  const Flow flow = check_continuous_flow(a);
  const int64_t D = flow.features, C = flow.context;
  const at::Tensor y = empty_if(true, a.x.sizes(), a.x),
                   ladj = empty_if(flow.with_ladj, {flow.rows}, a.x);
  if (flow.rows == 0) return {y, ladj};
  const at::Tensor x = a.x.contiguous(),
                   context = a.context ? a.context->contiguous() : at::Tensor();
  const std::vector<at::Tensor> weights = contiguous(a.weights), biases = contiguous(a.biases);
  const Couplings couplings(flow, weights);
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    Scratch scratch;
    const Field<T> field(flow, weights, biases, couplings.coupling, false, scratch);
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context);
    T *const to = y.data_ptr<T>(), *const to_ladj = data_or_null<T>(ladj);
    const int64_t threads = threads_for<T>(flow);
    for_blocks(flow, field, threads, shares_of<T>(flow, threads), false,
               [&](int64_t, auto& block, int64_t first, int64_t rows) {
                 block.forward(from + first * D, at_row(given, first, C), rows, to + first * D,
                               at_row(to_ladj, first, 1));
               });
  });
  return {y, ladj};
}

// Those of the parameters from the sum of the shares' gradients, flat.
at::Tensor parameter_gradients(const Flow& flow, const Couplings& couplings, at::TensorList weights,
                               const at::Tensor& sum) {
  const at::Tensor flat = sum.narrow(0, 0, flow.parameters);
  if (!flow.with_ladj) return flat.clone();
  std::vector<at::Tensor> grads;
  int64_t offset = 0;
  for (const at::Tensor& weight : weights) {
    grads.push_back(flat.narrow(0, offset, weight.numel()).view(weight.sizes()));
    offset += weight.numel() + weight.size(0);
  }
  const at::Tensor coupling = sum.narrow(0, flow.parameters, sum.size(0) - flow.parameters)
                                  .view(couplings.coupling.sizes());
  couplings.add_gradients(flow, weights, coupling, grads);
  return flat.clone();
}

Three continuous_flow_backward(const BackwardArguments& b) {
  const Flow flow = check_continuous_flow_backward(b);
  const int64_t D = flow.features, C = flow.context;
  const auto [with_x, with_context, with_parameters] = b.output_mask;
  const at::Tensor grad_x = empty_if(with_x, b.x.sizes(), b.x),
                   grad_context = empty_if(with_context && b.context, {flow.rows, C}, b.x);
  at::Tensor grad_parameters = empty_if(with_parameters, {flow.parameters}, b.x);
  if (flow.rows == 0) return {grad_x, grad_context, grad_parameters.zero_()};
  const at::Tensor x = b.x.contiguous(),
                   context = b.context ? b.context->contiguous() : at::Tensor(),
                   grad_y = b.grad_y.contiguous(), grad_ladj = b.grad_ladj.contiguous();
  const std::vector<at::Tensor> weights = contiguous(b.weights), biases = contiguous(b.biases);
  const Couplings couplings(flow, weights);
  dispatch_floating(x, [&](auto type) {
    using T = decltype(type);
    Scratch scratch;
    const Field<T> field(flow, weights, biases, couplings.coupling, true, scratch);
    const int64_t threads = threads_for<T>(flow), part = Gradients<T>::size(flow);
    at::Tensor parts;
    const Shares shares = shares_of<T>(flow, threads);
    if (with_parameters) parts = at::zeros({shares.count(), part}, x.options());
    const T *const from = x.const_data_ptr<T>(), *const given = data_or_null<const T>(context),
                   *const from_grad = grad_y.const_data_ptr<T>(),
                   *const from_ladj = data_or_null<const T>(grad_ladj);
    T *const to_x = data_or_null<T>(grad_x), *const to_context = data_or_null<T>(grad_context),
             *const gradients = data_or_null<T>(parts);
    for_blocks(flow, field, threads, shares, true,
               [&](int64_t share, auto& block, int64_t first, int64_t rows) {
                 const Gradients<T> to(flow, at_row(gradients, share, part));
                 block.backward(from + first * D, at_row(given, first, C), from_grad + first * D,
                                at_row(from_ladj, first, 1), rows, gradients ? &to : nullptr,
                                at_row(to_x, first, D), at_row(to_context, first, C));
               });
    if (with_parameters)
      grad_parameters = parameter_gradients(flow, couplings, weights, sum_parts(parts));
  });
  return {grad_x, grad_context, grad_parameters};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CPU, m) {
  m.impl("continuous_flow", FlatOp<continuous_flow, ForwardSignature<Two>>::call);
  m.impl("continuous_flow_backward",
         FlatOp<continuous_flow_backward, BackwardSignature<Three>>::call);
}

}  // namespace pyneural::continuous_flow
