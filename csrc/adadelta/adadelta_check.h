// What the Adadelta op asks of its arguments before memory is touched.
#pragma once

#include "../common/checks.h"

namespace pyneural::adadelta {

struct Arguments {
  at::TensorList parameters, gradients, squares, changes, steps;
  double learning_rate, rho, epsilon, weight_decay;
};
using Signature = void(at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                       at::TensorList, double, double, double, double);

namespace detail {

inline void check_list(const char* name, at::TensorList tensors, at::TensorList parameters) {
  const char* const op = "adadelta_";
  TORCH_CHECK_VALUE(tensors.size() == parameters.size(), op, ": ", name, ": expected ",
                    parameters.size(), " tensors, as many as parameters, got ", tensors.size(),
                    "; give one for each");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor &tensor = tensors[i], &parameter = parameters[i];
    check_given({op, name, static_cast<int64_t>(i)}, tensor);
    TORCH_CHECK_VALUE(tensor.scalar_type() == parameter.scalar_type() &&
                          tensor.sizes() == parameter.sizes() && tensor.layout() == at::kStrided &&
                          tensor.device() == parameter.device() && tensor.is_contiguous(),
                      Argument{op, name, static_cast<int64_t>(i)}, ": expected a contiguous ",
                      parameter.scalar_type(), " tensor on ", parameter.device(), " of shape ",
                      parameter.sizes(), ", got ", tensor.scalar_type(), " ", tensor.sizes(),
                      " on ", tensor.device(), "; torch.optim.Adadelta takes any");
  }
}

}  // namespace detail

inline void check_adadelta_(const Arguments& a) {
  const char* const op = "adadelta_";
  const at::TensorList parameters = a.parameters, steps = a.steps;
  detail::check_list("parameters", parameters, parameters);
  for (size_t i = 0; i < parameters.size(); ++i) {
    check_dtype({op, "parameters"}, parameters[i], Precisions::full,
                "torch.optim.Adadelta takes any");
    TORCH_CHECK_VALUE(parameters[i].device() == parameters[0].device(),
                      Argument{op, "parameters", static_cast<int64_t>(i)},
                      ": expected a tensor on ", parameters[0].device(),
                      " like the first, got one on ", parameters[i].device(),
                      "; call once for each device");
  }
  detail::check_list("gradients", a.gradients, parameters);
  detail::check_list("squares", a.squares, parameters);
  detail::check_list("changes", a.changes, parameters);
  TORCH_CHECK_VALUE(steps.empty() || steps.size() == parameters.size(), op,
                    ": steps: expected none or ", parameters.size(),
                    " counts, as many as parameters, got ", steps.size(), "; give one for each");
  for (size_t i = 0; i < steps.size(); ++i) {
    check_given({op, "steps", static_cast<int64_t>(i)}, steps[i]);
    TORCH_CHECK_VALUE(
        steps[i].is_cpu() && steps[i].numel() == 1 &&
            (steps[i].scalar_type() == at::kFloat || steps[i].scalar_type() == at::kDouble),
        Argument{op, "steps", static_cast<int64_t>(i)},
        ": expected one float32 or float64 on the CPU, got ", steps[i].scalar_type(), " ",
        steps[i].sizes(), " on ", steps[i].device(), "; torch.zeros(()) makes a count");
  }
}

}  // namespace pyneural::adadelta
