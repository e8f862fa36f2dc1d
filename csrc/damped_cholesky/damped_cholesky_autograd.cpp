// The checks of the damped_cholesky ops. Their derivatives are those of their forms in plain torch,
// which pyneural/ops/damped_cholesky.py registers.
#include <torch/library.h>

#include "damped_cholesky_check.h"

namespace pyneural::damped_cholesky {

TORCH_LIBRARY_FRAGMENT(pyneural, m) {
  m.def("check_damped_cholesky", check_damped_cholesky);
  m.def("check_damped_cholesky_solve", check_damped_cholesky_solve);
}

}  // namespace pyneural::damped_cholesky
