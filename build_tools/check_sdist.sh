#!/usr/bin/env bash
# The archive of the sources installs in an environment of its own, with pip's isolation and
# without, and the kernels answer there. Torch is that of .venv, and so are the objects: ninja
# compiles again what the archive lacks or has otherwise, so that only an incomplete archive costs
# a build.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$PWD/.venv/bin/python
export PATH=$PWD/.venv/bin:$PATH # its ninja reads what the build noted down; another would start over
folder=$PWD/build/sdist
rm -rf "$folder"
"$python" -m build --sdist --no-isolation --outdir "$folder" . > /dev/null
tar -xzf "$folder"/pyneural-*.tar.gz -C "$folder"
tree=$(echo "$folder"/pyneural-*/)
mkdir "$tree/build"
cp -a build/torch-* "$tree/build" # no links: compilers overwrite objects in place

"$python" -m venv --without-pip "$folder/env"
site='import sysconfig; print(sysconfig.get_path("purelib"))'
from=$("$python" -c "$site")
to=$("$folder/env/bin/python" -c "$site")
for package in "$from"/*; do
  case ${package##*/} in
    *pyneural* | __pycache__) ;;
    *) ln -s "$package" "$to" ;;
  esac
done

cd "$folder"
for isolation in --no-build-isolation --use-pep517; do # the second keeps the isolation
  env/bin/python -m pip install --no-deps --force-reinstall "$isolation" "$tree"
  env/bin/python -c '
import pyneural, torch
assert pyneural.__file__.startswith(torch.__file__.rpartition("/torch/")[0]), pyneural.__file__
x = torch.randn(3, 4)
torch.testing.assert_close(pyneural.ops.dense(x, torch.eye(4), None), x)'
done
