"""pyneural: neural networks for physical scientists on hand-written C++ and CUDA kernels.

``import pyneural`` loads nothing else; each part below is imported on first use.

- `pyneural.ops`: the kernels as functions of tensors
- `pyneural.nn`, `pyneural.optim`: drop-in layers and optimisers for PyTorch
- `pyneural.layers`: Keras-style layers
- `pyneural.pde`: equations, domains, conditions, exact solutions
- `pyneural.ode`: solutions of ordinary differential equations, with their gradients
- `pyneural.training`: training of networks and of equations; `pyneural.models`: ready-made models
- `pyneural.data`, `pyneural.plots`: data sets and figures
- `pyneural.metrics`: two-sample tests, calibration of posteriors, sharpness of images
- `pyneural.interpret`: what a network looks at, and whether the explanation can be trusted
- `pyneural.experiments`: comparisons and sweeps over seeds, resumed after an interruption

Two names exist twice, once as in PyTorch and once as in Keras:

- `nn.Sequential` is torch's container, with runs of linear layers fused. `training.Sequential`,
  also `models.Sequential`, is Keras's model with `add`, `compile` and `fit`; it takes the layers of
  `torch.nn`, `nn` and `layers`.
- `nn.Dropout(p)` is torch's layer, `layers.Dropout(rate)` Keras's. Both call `ops.dropout`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "data",
    "experiments",
    "interpret",
    "layers",
    "metrics",
    "models",
    "nn",
    "ode",
    "ops",
    "optim",
    "pde",
    "plots",
    "training",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"pyneural.{name}")
    raise AttributeError(f"module 'pyneural' has no attribute {name!r}")
