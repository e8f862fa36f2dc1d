// The counts of steps that Adadelta keeps, which lie on the CPU whatever the device.
#pragma once

#include <ATen/core/Tensor.h>

namespace pyneural::adadelta {

inline void add_one(at::TensorList steps) {
  for (const at::Tensor& step : steps) {
    if (step.scalar_type() == at::kFloat)
      *step.data_ptr<float>() += 1;
    else
      *step.data_ptr<double>() += 1;
  }
}

}  // namespace pyneural::adadelta
