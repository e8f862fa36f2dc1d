// What the Adadelta op asks of its arguments before memory is touched.
#pragma once

#include "../common/checks.h"
#include "../common/optimizer_lists.h"

namespace pyneural::adadelta {

struct Arguments {
  at::TensorList parameters, gradients, squares, changes, steps;
  double learning_rate, rho, epsilon, weight_decay;
};
using Signature = void(at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                       at::TensorList, double, double, double, double);

inline void check_adadelta_(const Arguments& a) {
  const char *const op = "adadelta_", *const remedy = "torch.optim.Adadelta";
  const at::TensorList parameters = a.parameters, steps = a.steps;
  check_parameters(op, parameters, remedy);
  check_alike({op, "gradients"}, a.gradients, parameters, remedy);
  check_alike({op, "squares"}, a.squares, parameters, remedy);
  check_alike({op, "changes"}, a.changes, parameters, remedy);
  TORCH_CHECK_VALUE(steps.empty() || steps.size() == parameters.size(), op,
                    ": steps: expected none or ", parameters.size(),
                    " counts, as many as parameters, got ", steps.size(), "; give one for each");
  check_counts({op, "steps"}, steps);
}

}  // namespace pyneural::adadelta
