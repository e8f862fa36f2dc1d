"""The kernels of an installed pyneural answer, in each instruction set that it was built for.

    python build_tools/smoke_test.py

It runs from a folder without a pyneural of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch

import pyneural
from pyneural import _loader, nn, ops
from pyneural.pde import gallery

if not Path(pyneural.__file__).is_relative_to(sys.prefix):
    sys.exit(f"pyneural is that of {Path(pyneural.__file__).parent}, not that of {sys.prefix}")

x = torch.randn(33, 5, dtype=torch.float64, requires_grad=True)
weight = torch.randn(7, 5, dtype=torch.float64)
torch.testing.assert_close(ops.dense(x, weight, None, activation="tanh"), torch.tanh(x @ weight.T))
net = nn.MLP(2, [16, 16], 1, activation="tanh").double()
points = torch.rand(40, 2, dtype=torch.float64, requires_grad=True)
u, u_t = net.jet(points, [(0,)])
(gradient,) = torch.autograd.grad(net(points).sum(), points)
torch.testing.assert_close(u_t[:, 0], gradient[:, 0])
q = torch.randn(2, 3, 11, 8)
torch.testing.assert_close(
    ops.attention(q, q, q), torch.nn.functional.scaled_dot_product_attention(q, q, q)
)
gallery.Cavity(1000).test_grid()  # its values come with the package

others = set(_loader.built_isas()) & set(_loader.processor_isas()) - {_loader.loaded_isa()}
if "PYNEURAL_CPU_ISA" not in os.environ:
    for isa in sorted(others):
        subprocess.run(
            [sys.executable, __file__], env={**os.environ, "PYNEURAL_CPU_ISA": isa}, check=True
        )
print(f"the kernels of {_loader.loaded_isa()} answer")
