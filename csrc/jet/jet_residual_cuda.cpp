// The residuals of an equation on CUDA: their Jacobian and its Gram matrix; checks, memory and the
// stream.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <memory>

#include "../common/dispatch_cuda.h"
#include "jet_gram_cuda.h"
#include "jet_params.h"

namespace pyneural::jet {
namespace {

// The kernel of the Jacobian for launches of `points` each, and the memory behind its params.
template <class T>
struct JacobianCall {
  // On the heap: a plan is several kilobytes.
  std::unique_ptr<ResidualJacobianParams<T>> params = std::make_unique<ResidualJacobianParams<T>>();
  at::Tensor x, coefficients, columns, program, scratch;
  std::vector<at::Tensor> parameters;

  JacobianCall(const char* op, const ResidualCall& checked, const ResidualArguments& a,
               int64_t points, cudaStream_t stream)
      : x(a.network.x.contiguous()),
        coefficients(a.coefficients.contiguous()),
        columns(a.columns ? a.columns->contiguous() : at::Tensor()),
        parameters(set_network(op, checked.network, a.network, x, &params->jet)) {
    const std::vector<int64_t> words = residual_words(checked.program, checked.network.plan);
    program = at::empty({static_cast<int64_t>(words.size())}, x.options().dtype(at::kLong));
    int64_t* const to = program.data_ptr<int64_t>();
    C10_CUDA_CHECK(store_values(words.data(), program.numel(), to, stream));
    params->values = static_cast<int32_t>(checked.program.values.size());
    params->equations = static_cast<int32_t>(checked.equations());
    params->steps = reinterpret_cast<const ResidualStep*>(to);
    params->residuals = to + program.numel() - params->equations;
    params->coefficient_count = coefficients.numel();
    params->coefficients = coefficients.const_data_ptr<T>();
    params->columns = data_or_null<const T>(columns);
    C10_CUDA_CHECK(params->configure(points));
    scratch = set_scratch(x, &params->jet);
  }
};

Two jet_mlp_residual_jacobian(const ResidualArguments& a) {
  const ResidualCall checked = check_jet_mlp_residual_jacobian(a);
  const int64_t N = checked.network.points, E = checked.equations();
  const int64_t M = checked.network.parameters + a.coefficients.numel();
  const auto options = a.network.x.options();
  at::Tensor residuals = at::empty({E, N}, options), jacobian = at::empty({M, E, N}, options);
  if (N == 0) return {residuals, jacobian};
  dispatch_floating_cuda(jacobian, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const JacobianCall<T> call("jet_mlp_residual_jacobian", checked, a, N, stream);
    ResidualJacobianParams<T>& params = *call.params;
    params.count = params.equation_stride = N;
    params.row_stride = E * N;
    params.jacobian = jacobian.data_ptr<T>();
    params.r = residuals.data_ptr<T>();
    C10_CUDA_CHECK(params.launch(stream));
  });
  return {residuals, jacobian};
}

Three jet_mlp_gram(const ResidualArguments& a) {
  const ResidualCall checked = check_jet_mlp_gram(a);
  const int64_t N = checked.network.points, E = checked.equations();
  const int64_t M = checked.network.parameters + a.coefficients.numel(), rows = M + 1;
  const auto options = a.network.x.options();
  const at::Tensor loss = at::empty({}, options), gradient = at::empty({M}, options);
  const at::Tensor gram = at::empty({M, M}, options);
  dispatch_floating_cuda(gram, [&](auto type, cudaStream_t stream) {
    using T = decltype(type);
    const int64_t points = points_at_a_time(N, rows * E * static_cast<int64_t>(sizeof(T)));
    const JacobianCall<T> call("jet_mlp_gram", checked, a, points, stream);
    const at::Tensor block = at::empty({rows, gram_row_stride<T>(E * points)}, options);
    GramParams<T> sum;
    sum.rows = rows;
    C10_CUDA_CHECK(sum.configure(E * points));
    const at::Tensor sums = at::zeros({sum.sums_size()}, options.dtype(at::kDouble));
    sum.sums = sums.data_ptr<double>();
    sum.gram = gram.data_ptr<T>();
    sum.gradient = gradient.data_ptr<T>();
    sum.mean = loss.data_ptr<T>();
    C10_CUDA_CHECK(launch_gram(*call.params, sum, block.data_ptr<T>(), points, stream));
  });
  return {loss, gradient, gram};
}

}  // namespace

TORCH_LIBRARY_IMPL(pyneural, CUDA, m) {
  m.impl("jet_mlp_residual_jacobian",
         FlatOp<jet_mlp_residual_jacobian, ResidualSignature<Two>>::call);
  m.impl("jet_mlp_gram", FlatOp<jet_mlp_gram, ResidualSignature<Three>>::call);
}

}  // namespace pyneural::jet
