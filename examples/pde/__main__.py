"""Solves the problems of this folder, or those named, and prints errors and seconds.

Run it with: python -m examples.pde [NAME ...]
"""

import sys
from importlib import import_module
from pathlib import Path

import torch

torch.set_default_dtype(torch.float64)
files = sorted(Path(__file__).parent.glob("[!_]*.py"))
for name in sys.argv[1:] or [file.stem for file in files]:
    error, seconds = import_module(f"examples.pde.{name}").main()
    print(f"{name:<22}error {error:.1e}{seconds:8.1f} s", flush=True)
