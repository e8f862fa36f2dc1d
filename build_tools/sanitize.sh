#!/usr/bin/env bash
# The op tests on CPU kernels built with gcc's sanitizers of addresses and of undefined behaviour,
# on every instruction set that this processor has. The first error ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

export CXX=${CXX:-g++}
python=.venv/bin/python
folder=build/sanitize
flags="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1"

# Together, the sources would take these checks more than ten minutes to compile.
PYNEURAL_UNITY=0 PYNEURAL_CUDA=0 CFLAGS=$flags LDFLAGS=$flags \
  $python setup.py --quiet build --build-base $folder --build-lib $folder/lib

# The sanitizers must be there before python's own libraries, and they look for C++ exceptions when
# they start. What python and torch do not free at their end is no leak.
preload=
for library in asan ubsan stdc++; do
  preload+="$($CXX -print-file-name=lib$library.so) "
done
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
for isa in $($python -c 'from pyneural import _loader; print(*_loader.processor_isas())'); do
  printf '\n== tests/ops with sanitizers, PYNEURAL_CPU_ISA=%s\n' "$isa"
  # Captured by sys, since a report is written by no Python and would be lost with the process. The
  # CUDA kernels on the host are built by their own tests, without sanitizers.
  PYNEURAL_CPU_ISA=$isa LD_PRELOAD=$preload \
    $python -m pytest --capture=sys -o pythonpath="$folder/lib ." --ignore-glob="*on_host*" \
    tests/ops "$@"
done
