#!/usr/bin/env bash
# The archive of the sources gives a wheel that runs in an environment of its own (check_wheel.sh),
# and installs there with pip's isolation too. Torch is that of .venv, and so are the objects: ninja
# compiles again what the archive lacks or has otherwise, so that only an incomplete archive costs
# a build.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/build/sdist
rm -rf "$folder"
.venv/bin/python -m build --sdist --no-isolation --outdir "$folder" . > /dev/null
tar -xzf "$folder"/pyneural-*.tar.gz -C "$folder"
tree=$(echo "$folder"/pyneural-*/)
mkdir "$tree/build"
cp -a build/torch-* "$tree/build" # no links: compilers overwrite objects in place

build_tools/check_wheel.sh "$tree"
cd build/wheel
unset PYTHONPATH
env/bin/python -m pip install --no-deps --force-reinstall --use-pep517 "$tree"
env/bin/python ../../build_tools/smoke_test.py
