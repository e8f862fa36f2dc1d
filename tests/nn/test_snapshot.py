"""A snapshot of modules notices whatever a user may change."""

from __future__ import annotations

import pytest
import torch

from pyneural.nn.snapshot import Snapshot
from pyneural.ops.calls import hold


class Masked(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(2, 3), torch.nn.ELU(), torch.nn.Linear(3, 1))
        self.register_buffer("mask", torch.ones(3))


class Other(Masked):
    pass


CHANGES = {
    "attribute": lambda m: setattr(m[1], "alpha", 0.5),
    "new attribute": lambda m: setattr(m[1], "beta", 0.5),
    "forward": lambda m: setattr(m, "forward", lambda x: x),
    "parameter": lambda m: setattr(m[0], "weight", torch.nn.Parameter(torch.ones(3, 2))),
    "no bias": lambda m: setattr(m[0], "bias", None),
    "equal parameter": lambda m: setattr(m[2], "bias", torch.nn.Parameter(m[2].bias.detach())),
    "module": lambda m: m.__setitem__(1, torch.nn.ELU()),
    "new module": lambda m: m.append(torch.nn.ELU()),
    "class": lambda m: setattr(m, "__class__", Other),
    "mode": lambda m: m.eval(),
    "buffer": lambda m: setattr(m, "mask", torch.ones(3)),
    "buffer in place": lambda m: m.mask.zero_(),
    "moved buffer": lambda m: m.double(),
    "loaded": lambda m: m.load_state_dict(m.state_dict()),
    "forward hook": lambda m: m[1].register_forward_hook(lambda *_: None),
    "forward pre-hook": lambda m: m[1].register_forward_pre_hook(lambda *_: None),
    "backward hook": lambda m: m[1].register_full_backward_hook(lambda *_: None),
    "backward pre-hook": lambda m: m[1].register_full_backward_pre_hook(lambda *_: None),
    "parametrisation": lambda m: torch.nn.utils.parametrizations.weight_norm(m[0]),
    "pruning": lambda m: torch.nn.utils.prune.l1_unstructured(m[0], "weight", 0.5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change(change):
    modules = Masked()
    snapshot = Snapshot(modules.modules())
    assert snapshot.holds()
    change(modules)
    assert not snapshot.holds()
    assert Snapshot(modules.modules()).holds()


def test_hooks_of_all_modules():
    snapshot = Snapshot(Masked().modules())
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert not snapshot.holds()
    finally:
        hook.remove()
    assert snapshot.holds()


def test_a_training_changes_nothing():
    modules = Masked()
    snapshot = Snapshot(modules.modules())
    optimizer = torch.optim.Adam(modules.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        modules(torch.ones(4, 2)).sum().backward()
        optimizer.step()
    assert snapshot.holds()


@pytest.mark.parametrize("arguments", [(1, 2), ((), ((),)), (({},), (1,)), ((1,), ((),))])
def test_wrong_arguments_of_hold(arguments):
    with pytest.raises(TypeError, match="hold: expected"):
        hold(*arguments)
