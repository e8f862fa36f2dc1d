// The lists of tensors that a step of an optimiser takes: one for each parameter, alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "checks.h"
#include "parallel.h"

namespace pyneural {

// `remedy` is what to take instead for others: torch's own optimiser.
inline void check_alike(Argument argument, at::TensorList tensors, at::TensorList parameters,
                        const char* remedy) {
  TORCH_CHECK_VALUE(tensors.size() == parameters.size(), argument, ": expected ", parameters.size(),
                    " tensors, as many as parameters, got ", tensors.size(), "; give one for each");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor &tensor = tensors[i], &parameter = parameters[i];
    const Argument one{argument.op, argument.name, static_cast<int64_t>(i)};
    check_given(one, tensor);
    TORCH_CHECK_VALUE(tensor.scalar_type() == parameter.scalar_type() &&
                          tensor.sizes() == parameter.sizes() && tensor.layout() == at::kStrided &&
                          tensor.device() == parameter.device() && tensor.is_contiguous(),
                      one, ": expected a contiguous ", parameter.scalar_type(), " tensor on ",
                      parameter.device(), " of shape ", parameter.sizes(), ", got ",
                      tensor.scalar_type(), " ", tensor.sizes(), " on ", tensor.device(), "; ",
                      remedy, " takes any");
  }
}

// Of dtypes and on a device that the kernels know, whatever the tensors that belong to them.
inline void check_parameters(const char* op, at::TensorList parameters, const char* remedy) {
  const Argument argument{op, "parameters"};
  check_alike(argument, parameters, parameters, remedy);
  for (size_t i = 0; i < parameters.size(); ++i) {
    check_dtype(argument, parameters[i], Precisions::full, remedy, " takes any");
    TORCH_CHECK_VALUE(parameters[i].device() == parameters[0].device(),
                      Argument{op, "parameters", static_cast<int64_t>(i)},
                      ": expected a tensor on ", parameters[0].device(),
                      " like the first, got one on ", parameters[i].device(),
                      "; call once for each device");
  }
}

// How often a parameter was changed, a scalar on the CPU for each.
inline void check_counts(Argument argument, at::TensorList steps) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const Argument one{argument.op, argument.name, static_cast<int64_t>(i)};
    check_given(one, steps[i]);
    TORCH_CHECK_VALUE(
        steps[i].is_cpu() && steps[i].numel() == 1 &&
            (steps[i].scalar_type() == at::kFloat || steps[i].scalar_type() == at::kDouble),
        one, ": expected one float32 or float64 on the CPU, got ", steps[i].scalar_type(), " ",
        steps[i].sizes(), " on ", steps[i].device(), "; torch.zeros(()) makes a count");
  }
}

// The count after one more step.
inline double count_step(const at::Tensor& step) {
  if (step.scalar_type() == at::kFloat) return *step.data_ptr<float>() += 1;
  return *step.data_ptr<double>() += 1;
}

// body(tensor, begin, end) for chunks of the parameters of dtype T, each thread a contiguous one of
// every parameter: a thread finds in its cache what of the newest gradients the backward has left
// there, and each has as many of them.
template <class T, class Body>
void for_chunks_of_all(at::TensorList parameters, const Body& body) {
  constexpr int64_t kElementsPerThread = 1 << 14;  // worth waking a thread for
  std::vector<size_t> those;
  int64_t total = 0;
  for (size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].scalar_type() == c10::CppTypeToScalarType<T>::value) {
      those.push_back(i);
      total += parameters[i].numel();
    }
  const int64_t threads = std::clamp<int64_t>(total / kElementsPerThread, 1, at::get_num_threads());
  parallel_chunks(threads, threads, [&](int64_t, int64_t chunk, int64_t) {
    for (const size_t i : those) {
      const int64_t size = parameters[i].numel();
      body(i, chunk * size / threads, (chunk + 1) * size / threads);
    }
  });
}

}  // namespace pyneural
