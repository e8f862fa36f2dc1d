// The lists of tensors that a step of an optimiser takes: one for each parameter, alike.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "checks.h"
#include "parallel.h"

namespace pyneural {

// Whether the elements lie in memory one after the other, as they are.
inline bool is_plain(const at::Tensor& tensor) {
  return tensor.layout() == at::kStrided && tensor.has_storage() && tensor.is_contiguous() &&
         !tensor.is_neg() && !tensor._is_zerotensor();
}

// Of the dtype, shape and device of its parameter.
inline bool is_alike(const at::Tensor& tensor, const at::Tensor& parameter) {
  return is_plain(tensor) && tensor.scalar_type() == parameter.scalar_type() &&
         tensor.sizes() == parameter.sizes() && tensor.device() == parameter.device();
}

// `remedy` is what to take instead for others: torch's own optimiser.
inline void check_alike(Argument argument, at::TensorList tensors, at::TensorList parameters,
                        const char* remedy) {
  TORCH_CHECK_VALUE(tensors.size() == parameters.size(), argument, ": expected ", parameters.size(),
                    " tensors, as many as parameters, got ", tensors.size(), "; give one for each");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor &tensor = tensors[i], &parameter = parameters[i];
    const Argument one{argument.op, argument.name, static_cast<int64_t>(i)};
    check_given(one, tensor);
    TORCH_CHECK_VALUE(is_alike(tensor, parameter), one, ": expected a contiguous ",
                      parameter.scalar_type(), " tensor on ", parameter.device(), " of shape ",
                      parameter.sizes(), ", got ", tensor.scalar_type(), " ", tensor.sizes(),
                      " on ", tensor.device(), "; ", remedy, " takes any");
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

// How often a parameter was changed.
inline bool is_count(const at::Tensor& step) {
  return step.is_cpu() && step.numel() == 1 &&
         (step.scalar_type() == at::kFloat || step.scalar_type() == at::kDouble);
}

// A scalar on the CPU for each parameter.
inline void check_counts(Argument argument, at::TensorList steps) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const Argument one{argument.op, argument.name, static_cast<int64_t>(i)};
    check_given(one, steps[i]);
    TORCH_CHECK_VALUE(is_count(steps[i]), one, ": expected one float32 or float64 on the CPU, got ",
                      steps[i].scalar_type(), " ", steps[i].sizes(), " on ", steps[i].device(),
                      "; torch.zeros(()) makes a count");
  }
}

// Whether no element of one tensor is an element of another: otherwise the order of the changes
// would matter.
inline bool are_apart(at::TensorList tensors) {
  std::vector<std::pair<const char*, const char*>> memory;
  memory.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors)
    if (tensor.numel() > 0) {
      const auto* const begin = static_cast<const char*>(tensor.const_data_ptr());
      memory.emplace_back(begin, begin + tensor.nbytes());
    }
  std::sort(memory.begin(), memory.end());
  return std::adjacent_find(memory.begin(), memory.end(), [](const auto& one, const auto& next) {
           return next.first < one.second;
         }) == memory.end();
}

// Whether a step may be one call of an op: what the checks above ask, and parameters apart; not
// under a transformation of torch.func, nor for tensors that stand for others.
// `others` are gradients, averages, ... of all parameters in turn.
struct FitsOneCall {
  using Signature = bool(at::TensorList, at::TensorList, at::TensorList);

  bool operator()(at::TensorList parameters, at::TensorList others, at::TensorList steps) const {
    if (c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerFrontMode))
      return false;
    for (const at::Tensor& parameter : parameters)
      if (!(is_plain(parameter) && !parameter.key_set().has(c10::DispatchKey::Functionalize) &&
            parameter.device() == parameters[0].device() &&
            (parameter.scalar_type() == at::kFloat || parameter.scalar_type() == at::kDouble)))
        return false;
    for (size_t i = 0; i < others.size(); ++i)
      if (!is_alike(others[i], parameters[i % parameters.size()])) return false;
    return std::all_of(steps.begin(), steps.end(), is_count) && are_apart(parameters);
  }
};

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
