#!/usr/bin/env bash
# Compiles the CUDA code where there is neither a GPU nor a torch with CUDA: `kernels`, each .cu for
# the four kinds of GPU of kernel_table.py, or those named next, with warnings as errors, none with
# more registers, spills or instructions than kept; `callers`, the syntax of the C++ that calls
# them; without an argument both.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-kernels callers}
architectures=${2:-sm_80 sm_90a sm_100 sm_120}

if [[ $what == *kernels* ]]; then
  # shellcheck disable=SC2086  # several words
  MAX_JOBS=2 python3 build_tools/kernel_table.py $architectures
  if [[ $architectures == *sm_90a* ]]; then
    nvcc -std=c++20 -O1 -arch=sm_90a --expt-relaxed-constexpr -Werror all-warnings -Xcompiler -Wall \
      -cubin -o /dev/null bench/gpu_maps.cu
  fi
fi

if [[ $what == *callers* ]]; then
  # The one header that a torch without CUDA lacks, and all callers as one file, as in a build.
  shim=build/cuda_shim
  mkdir -p "$shim/c10/cuda/impl"
  echo '#pragma once' > "$shim/c10/cuda/impl/cuda_cmake_macros.h"
  find csrc -name '*_cuda.cpp' | sort | sed 's|.*|#include "../../&"|' > "$shim/callers.cpp"
  torch=$(.venv/bin/python -c '
from torch.utils.cpp_extension import include_paths
print(*(f"-isystem {path}" for path in include_paths()))')
  # shellcheck disable=SC2086  # several words
  nvcc -std=c++20 -Icsrc -I"$shim" $torch -Xcompiler -Wall,-fsyntax-only -c -o /dev/null \
    "$shim/callers.cpp"
fi
