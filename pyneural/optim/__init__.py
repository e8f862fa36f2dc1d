"""Drop-in optimisers for PyTorch: a step of all parameters is one call.

Every other name is that of ``torch.optim``, modules included: a program runs unchanged when
``from torch import optim`` is replaced with ``from pyneural import optim``.

>>> from pyneural.optim import *
>>> layer = torch.nn.Linear(2, 1)
>>> optimizer = Adam(layer.parameters(), lr=1e-2)
>>> schedule = lr_scheduler.StepLR(optimizer, step_size=10)
>>> layer(torch.ones(1, 2)).sum().backward()
>>> optimizer.step()
"""

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch

from pyneural.optim.adadelta import Adadelta
from pyneural.optim.adam import Adam, AdamW

__all__ = ["Adadelta", "Adam", "AdamW"]
__all__ += [name for name in vars(torch.optim) if not name.startswith("_") and name not in __all__]

# ``import pyneural.optim.lr_scheduler`` asks for the modules by these names.
_OWN = {"adadelta": "adadelta", "adam": "adam", "adamw": "adam"}
for _module in iter_modules(torch.optim.__path__):
    if _module.name[0] != "_":
        _own = f"{__name__}.{_OWN[_module.name]}" if _module.name in _OWN else None
        sys.modules[f"{__name__}.{_module.name}"] = import_module(
            _own or f"torch.optim.{_module.name}"
        )


def __getattr__(name: str) -> Any:
    return getattr(torch.optim, name)


def __dir__() -> list[str]:
    return __all__
