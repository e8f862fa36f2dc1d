#!/bin/sh
# Builds, tests and benches pyneural on a machine with a GPU, without a network, in 8 minutes.
#
#   sh bench/gpu.sh [FOLDER]      FOLDER, or $OUT: where logs and figures go (default: gpu-results)
#
# It takes torch, nvcc, ninja and pytest from the machine. What tells the most comes first. Every
# step has a limit and runs even if one before it failed, as long as the time for all is not over;
# its log and its line of summary.txt are there when the next one begins.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${1:-${OUT:-gpu-results}}
python=${PYTHON:-python3}
seconds=${SECONDS_OF_ALL:-460}
mkdir -p "$out"
: >"$out/summary.txt"
export PYTHONUNBUFFERED=1 PYNEURAL_CUDA=1 MAX_JOBS="${MAX_JOBS:-16}"
# Each source by itself for all processors, the CPU's kernels for this one alone.
export PYNEURAL_UNITY=0 PYNEURAL_BUILD_ISAS=native
export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-9.0a}"
# Lines of the sources for compute-sanitizer; an installation has none, they name its folders.
export NVCC_APPEND_FLAGS=-lineinfo
failed=0
begun=$(date +%s)

# step NAME SECONDS COMMAND...: output to NAME.log, its end to the terminal.
step() {
  name=$1 limit=$2
  shift 2
  echo "== $name"
  start=$(date +%s)
  left=$((seconds - start + begun))
  [ "$limit" -lt "$left" ] || limit=$left
  if [ "$limit" -gt 0 ]; then
    timeout -k 5 "$limit" "$@" >"$out/$name.log" 2>&1
    code=$?
    tail -n "${lines:-15}" "$out/$name.log"
    said="exit $code, $(($(date +%s) - start)) s"
  else
    code=124 said="not run, the time was over"
  fi
  [ $code -eq 0 ] || failed=1
  echo "$name: $said" >>"$out/summary.txt"
}

step gpu 10 nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader
step build 170 "$python" setup.py build_ext --inplace
step smoke 30 "$python" -m bench.gpu_smoke
step maps 15 sh -c "nvcc -std=c++20 -O1 -arch=sm_90a --expt-relaxed-constexpr \
  -o '$out/maps' bench/gpu_maps.cu && '$out/maps'; code=\$?; rm -f '$out/maps'; exit \$code"
# Not the host stand-ins of the same kernels, which need no GPU.
tests() {
  step "$1" "$2" "$python" -m pytest -q -p no:cacheprovider --continue-on-collection-errors \
    -k "cuda and not on_host" --maxfail=20 $3
}
tests tests-kernels 45 "$(ls tests/ops/test_*_cuda.py)"
tests tests-ops 40 "$(ls tests/ops/test_mlp.py tests/ops/test_jet*.py tests/ops/test_divergence.py |
  grep -v _cuda)"
results=$("$python" -c "
from bench import machine
print(machine.file_name(machine.describe('cuda', 1)))")
lines=80
step bench-jet-float32 60 "$python" -m bench jet --device cuda --seconds 0.3 --json "$out/$results"
for dtype in float32 float64; do
  step "bench-gram-$dtype" 20 "$python" -m bench gram --device cuda --seconds 0.2 --dtype $dtype \
    --points 10000 --case 3x20 2x40 --peers func --json "$out/$results"
done
for dtype in float32 bfloat16; do
  step "bench-rnn-$dtype" 40 "$python" -m bench rnn --device cuda --seconds 0.2 --dtype $dtype \
    --json "$out/$results" --case 64x100x128x128 64x100x256x256 64x100x512x512 64x100x768x768 \
    64x100x1024x1024
done
for dtype in bfloat16 float32; do
  step "bench-dense-$dtype" 20 "$python" -m bench dense --device cuda --seconds 0.2 --dtype $dtype \
    --json "$out/$results"
done
for dtype in bfloat16 float32; do
  step "bench-attention-$dtype" 30 "$python" -m bench attention --device cuda --seconds 0.2 \
    --dtype $dtype --peers sdpa flash efficient --case 4x8x512x64 1x8x2048x64 \
    --json "$out/$results"
done
step bench-jet-float64 30 "$python" -m bench jet --device cuda --seconds 0.3 --dtype float64 \
  --peers eager --json "$out/$results"
lines=15
for tool in memcheck racecheck; do
  step "$tool" 40 compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" -m bench.gpu_smoke
done
cat "$out/summary.txt"
exit $failed
