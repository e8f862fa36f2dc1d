#!/usr/bin/env bash
# The op tests on the kernels for Arm (NEON), on a Debian or Ubuntu of x86-64: a cross compiler
# builds them, qemu runs them, tens of times slower than an Arm processor. Arguments are pytest's:
# build_tools/emulate_arm.sh tests/ops/test_dense.py
#
#   apt-get install g++-aarch64-linux-gnu mmdebstrap qemu-user
#
# The first run unpacks Arm's Python and torch, which is 5 GB with the libraries of CUDA; where pip
# finds torch's CPU builds, such as torch==2.13.0+cpu, they do.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH=torch==2.13.0
PACKAGES="numpy safetensors tqdm typing_extensions pytest hypothesis expecttest mpmath"
SUITE=$(. /etc/os-release && echo "$VERSION_CODENAME") # this system's, as the cross compiler is
export QEMU_CPU=cortex-a76

folder=$PWD/build/arm
root=$folder/$SUITE site=$folder/$TORCH
python=$root/usr/bin/python3

if [ ! -e "$python" ]; then
  mkdir -p "$folder"
  # Unpacked only: nothing of it has to run.
  mmdebstrap --quiet --mode=chrootless --variant=extract --arch=arm64 \
    --include=libpython3-dev,libstdc++6,python3 "$SUITE" "$root"
fi
# Files of the root hide the host's. On the host's list of processors torch would crash.
mkdir -p "$root/proc"
for processor in $(seq 0 $(($(nproc) - 1))); do
  printf 'processor: %s\n' "$processor"
  printf 'Features: fp asimd crc32 atomics fphp asimdhp asimdrdm asimddp\n'
  printf 'CPU implementer: 0x41\nCPU architecture: 8\nCPU variant: 0x4\nCPU part: 0xd0b\n\n'
done > "$root/proc/cpuinfo"

if [ ! -e "$site" ]; then
  version=$(basename "$(readlink "$python")")
  # Of other platforms than its own pip takes only those that are named.
  platforms=$(printf -- '--platform manylinux_2_%s_aarch64 ' {17..28})
  # shellcheck disable=SC2086
  .venv/bin/python -m pip install --quiet --target "$site.part" --only-binary :all: \
    $platforms --platform manylinux2014_aarch64 --python-version "${version#python}" \
    "$TORCH" $PACKAGES
  mv "$site.part" "$site"
fi

# setup.py runs under qemu too and so builds for Arm, while ninja and the compiler run as ever.
export QEMU_LD_PREFIX=$root PYTHONPATH=$site PATH=$PWD/.venv/bin:$PATH
CXX="aarch64-linux-gnu-g++ -idirafter $root/usr/include" PYNEURAL_CUDA=0 \
  qemu-aarch64 "$python" setup.py --quiet build --build-base "$folder" --build-lib "$folder/lib"

# Left out are the tests that compile, since the host cannot start a program for Arm.
qemu-aarch64 "$python" -m pytest -W ignore -o pythonpath="$folder/lib ." \
  --ignore-glob="*on_host*" -k "not compile and not export" "${@:-tests/ops}"
