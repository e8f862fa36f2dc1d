"""Networks of our layers as others would write them: of torch's layers, with the same weights."""

from __future__ import annotations

import copy

import torch

from pyneural.nn.drop_in import Scriptable


def of_torch(network: torch.nn.Module) -> torch.nn.Module:
    """A copy of a network in which torch's layer stands for each of ours.

    >>> from pyneural import nn
    >>> type(of_torch(nn.Sequential(nn.Linear(2, 3)))[0]) is torch.nn.Linear
    True
    """
    return _replaced(copy.deepcopy(network))


def _replaced(network: torch.nn.Module) -> torch.nn.Module:
    for name, child in network.named_children():
        setattr(network, name, _replaced(child))
    return network.as_torch() if isinstance(network, Scriptable) else network
