"""``pyneural.optim`` in the place of ``torch.optim``."""

import importlib

import torch

from pyneural import optim


def test_every_name_of_torch_is_there():
    for name in vars(torch.optim):
        if not name.startswith("_"):
            assert hasattr(optim, name), name
    assert optim.SGD is torch.optim.SGD


def test_own_names_are_subclasses():
    for name in ("Adadelta", "Adam", "AdamW"):
        ours = getattr(optim, name)
        assert ours is not getattr(torch.optim, name)
        assert issubclass(ours, getattr(torch.optim, name))


def test_modules_can_be_imported():
    assert importlib.import_module("pyneural.optim.lr_scheduler") is torch.optim.lr_scheduler
    assert importlib.import_module("pyneural.optim.swa_utils") is torch.optim.swa_utils
