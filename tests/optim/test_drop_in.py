"""``pyneural.optim`` in the place of ``torch.optim``."""

import importlib
from pkgutil import iter_modules

import pytest
import torch

from pyneural import optim

OWN = {"Adadelta", "Adam", "AdamW"}


def test_every_name_of_torch_is_there():
    names = {}
    exec("from pyneural.optim import *", names)
    public = {name for name in vars(torch.optim) if not name.startswith("_")}
    assert public <= names.keys()
    assert all(names[name] is getattr(torch.optim, name) for name in public - OWN - {"adam"}
               - {"adamw", "adadelta"})  # fmt: skip


def test_own_names_are_subclasses():
    for name in OWN:
        ours = getattr(optim, name)
        assert ours is not getattr(torch.optim, name)
        assert issubclass(ours, getattr(torch.optim, name))


@pytest.mark.parametrize(
    "name", [m.name for m in iter_modules(torch.optim.__path__) if m.name[0] != "_"]
)
def test_modules_can_be_imported(name):
    ours = importlib.import_module(f"pyneural.optim.{name}")
    theirs = importlib.import_module(f"torch.optim.{name}")
    for own in OWN & vars(theirs).keys():
        if own.lower() == name:
            assert getattr(ours, own) is getattr(optim, own)
    assert name in ("adadelta", "adam", "adamw") or ours is theirs
