#!/usr/bin/env bash
# `pip wheel` gives a file that runs in an environment of its own, with the same torch and nothing
# but what the wheel asks for. check_wheel.sh TREE builds that of another tree; the objects in its
# build/ are not compiled again. Leaves the environment in build/wheel/env.
set -euo pipefail
cd "$(dirname "$0")/.."

tree=$(realpath "${1:-.}")
python=$PWD/.venv/bin/python
tools=$PWD/build_tools
export PATH=$PWD/.venv/bin:$PATH # its ninja reads what the build noted down; another would start over
folder=$PWD/build/wheel
rm -rf "$folder"
mkdir -p "$folder"

"$python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$folder" "$tree"
wheel=$(echo "$folder"/pyneural-*.whl)
"$python" "$tools/check_wheel.py" "$wheel"
published=$(echo "$folder"/manylinux/*.whl)
if [ -e "$published" ]; then wheel=$published; fi

"$python" -m venv --without-pip "$folder/env"
"$python" "$tools/link_packages.py" "$folder/env" \
  pip torch numpy safetensors tqdm typing_extensions setuptools ninja
cd "$folder" # where no pyneural lies
unset PYTHONPATH # nor there
env/bin/python -m pip install --no-index "$wheel" # says so if a package is missing
env/bin/python "$tools/smoke_test.py"
env/bin/pyneural info
