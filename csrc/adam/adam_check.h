// What the op of Adam asks of its arguments before memory is touched.
#pragma once

#include "../common/checks.h"
#include "../common/optimizer_lists.h"

namespace pyneural::adam {

struct Arguments {
  at::TensorList parameters, gradients, averages, squares, steps;
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  bool decoupled;
};
using Signature = void(at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                       at::TensorList, double, double, double, double, double, bool);

inline void check_adam_(const Arguments& a) {
  const char *const op = "adam_", *const remedy = "torch.optim.Adam";
  const at::TensorList parameters = a.parameters;
  check_parameters(op, parameters, remedy);
  check_alike({op, "gradients"}, a.gradients, parameters, remedy);
  check_alike({op, "averages"}, a.averages, parameters, remedy);
  check_alike({op, "squares"}, a.squares, parameters, remedy);
  TORCH_CHECK_VALUE(a.steps.size() == parameters.size(), op, ": steps: expected ",
                    parameters.size(), " counts, as many as parameters, got ", a.steps.size(),
                    "; give one for each");
  check_counts({op, "steps"}, a.steps);
}

}  // namespace pyneural::adam
