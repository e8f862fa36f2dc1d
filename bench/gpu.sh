#!/bin/sh
# Builds, tests and benches pyneural on a machine with a GPU, without a network.
#
#   sh bench/gpu.sh [FOLDER]      FOLDER, or $OUT: where logs and figures go (default: gpu-results)
#
# It takes torch, nvcc, ninja and pytest from the machine. Every step runs even if one before it
# failed; the summary at the end says which did. The limits add up to under 10 minutes.
set -u
cd "$(dirname "$0")/.." || exit 2
out=${1:-${OUT:-gpu-results}}
python=${PYTHON:-python3}
mkdir -p "$out"
export PYTHONUNBUFFERED=1 PYNEURAL_CUDA=1 MAX_JOBS="${MAX_JOBS:-16}"
export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-9.0a}"
summary=""
failed=0

# step NAME SECONDS COMMAND...: output to NAME.log, its end to the terminal.
step() {
  name=$1 limit=$2
  shift 2
  echo "== $name"
  start=$(date +%s)
  timeout "$limit" "$@" >"$out/$name.log" 2>&1
  code=$?
  tail -n "${lines:-15}" "$out/$name.log"
  [ $code -eq 0 ] || failed=1
  summary="$summary
$name: exit $code, $(($(date +%s) - start)) s"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
step build 160 "$python" setup.py build_ext --inplace
step tests 100 "$python" -m pytest -q tests -k cuda -p no:cacheprovider
step maps 15 sh -c "nvcc -std=c++20 -O1 -arch=sm_90a --expt-relaxed-constexpr \
  -o '$out/maps' bench/gpu_maps.cu && '$out/maps'; code=\$?; rm -f '$out/maps'; exit \$code"
results=$("$python" -c "
from bench import machine
print(machine.file_name(machine.describe('cuda', 1)))")
lines=80
step bench-float32 75 "$python" -m bench jet --device cuda --seconds 0.3 --json "$out/$results"
step bench-float64 40 "$python" -m bench jet --device cuda --seconds 0.5 --dtype float64 \
  --peers eager --json "$out/$results"
step bench-dense 35 "$python" -m bench dense --device cuda --seconds 0.3 --json "$out/$results"
step bench-rnn 40 "$python" -m bench rnn --device cuda --seconds 0.3 --json "$out/$results" --case \
  64x100x128x128 64x100x256x256 64x100x512x512 64x100x768x768 64x100x1024x1024
for dtype in bfloat16 float32; do
  step "bench-attention-$dtype" 35 "$python" -m bench attention --device cuda --seconds 0.2 \
    --dtype $dtype --peers sdpa flash efficient --case 4x8x512x64 1x8x2048x64 \
    --json "$out/$results"
done
lines=15
for tool in memcheck racecheck; do
  step "$tool" 30 compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" -m bench.gpu_smoke
done
echo "$summary"
exit $failed
