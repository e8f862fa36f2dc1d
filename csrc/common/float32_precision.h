// How exact float32 products on CUDA are to be.
#pragma once

#include <ATen/Context.h>

namespace pyneural {

// Whether products may round their factors to tf32: `torch.backends.cuda.matmul.fp32_precision`, or
// what it inherits or an older switch has set. The older question, `allowTF32CuBLAS`, is an error
// once the newer switch has been used.
inline bool allows_tf32() {
  return at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
         at::Float32Precision::TF32;
}

}  // namespace pyneural
