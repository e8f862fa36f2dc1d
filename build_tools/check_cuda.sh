#!/usr/bin/env bash
# Compiles the CUDA code where there is neither a GPU nor a torch with CUDA: `kernels`, each .cu for
# sm_80 and sm_90a, or those named next, with warnings as errors; `callers`, the syntax of the C++
# that calls them; without an argument both.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-kernels callers}
architectures=${2:-sm_80 sm_90a}

# Optimised in full only where ptxas judges the result: it warns where it serialises wgmma.
kernel() {
  echo "nvcc $1 $2"
  local effort=-Ofc=mid
  case "$1 $2" in "sm_90a csrc/attention/"* | "sm_90a bench/"*) effort= ;; esac
  nvcc -std=c++20 -O3 $effort --expt-relaxed-constexpr -Icsrc -Icsrc/common -arch="$1" \
    -Werror all-warnings -Xcompiler -Wall -cubin -o /dev/null "$2"
}
caller() {
  echo "nvcc $1"
  # shellcheck disable=SC2086  # several words
  nvcc -std=c++20 -Icsrc -I"$shim" $torch -Xcompiler -Wall,-fsyntax-only -c -o /dev/null "$1"
}
export -f kernel caller

if [[ $what == *callers* ]]; then
  # The one header that a torch without CUDA lacks.
  shim=build/cuda_shim
  mkdir -p "$shim/c10/cuda/impl"
  echo '#pragma once' > "$shim/c10/cuda/impl/cuda_cmake_macros.h"
  torch=$(.venv/bin/python -c '
from torch.utils.cpp_extension import include_paths
print(*(f"-isystem {path}" for path in include_paths()))')
  export shim torch
fi

{
  [[ $what != *kernels* ]] ||
    for each in $architectures; do find csrc bench -name '*.cu' -printf "kernel $each %p\n"; done
  [[ $what != *callers* ]] || find csrc -name '*_cuda.cpp' -printf 'caller %p\n'
} | xargs -P 2 -I{} bash -c '{}'
