"""Whether losses at two points can be compared: solvers that search along a line must do so."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from pyneural.training.checks import check


def check_repeatable(solver: str, model: nn.Module) -> None:
    """ValueError where a layer, as it is in training, changes the losses from call to call.

    Dropout draws new numbers each time, and running averages of batches take in every point that
    is only tried. What a function of the user's own draws is not seen.

    >>> check_repeatable("LevenbergMarquardt", nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
    Traceback (most recent call last):
    ValueError: LevenbergMarquardt: layer '1': expected layers that give the same at each call, as \
losses of two are compared, got Dropout with p=0.1 in training; set p to 0, or train with Adam
    """
    # A layer that is as in evaluation, whatever the mode of the model, says so when it is called.
    frozen = {
        id(child)
        for module in model.modules()
        if getattr(module, "later_requires_grad", True) is False
        for child in module.children()
    }
    for name, module in model.named_modules():
        if module.training and (found := _varies(module, id(module) in frozen)):
            expected = "layers that give the same at each call, as losses of two are compared"
            got, remedy = found[0], f"{found[1]}, or train with Adam"
            check(False, f"{solver}: layer {name!r}", expected, got, remedy)


def _varies(module: nn.Module, frozen: bool) -> tuple[str, str] | None:
    """What a layer does in training, and what to do about it; None of one that does nothing."""
    kind = type(module).__name__
    if isinstance(module, _BatchNorm):
        got = f"{kind} with averages of batches in training"
        return None if frozen else (got, "leave it out, as by torch.nn.LayerNorm")
    if isinstance(module, nn.RReLU):
        return f"{kind} with random slopes in training", "take LeakyReLU"
    several = getattr(module, "num_layers", 1) > 1 or not isinstance(module, nn.RNNBase)
    if isinstance(module, (_DropoutNd, nn.RNNBase, nn.MultiheadAttention)) and several:
        name = "p" if isinstance(module, _DropoutNd) else "dropout"
    else:
        name = "rate" if kind == "Dropout" else ""  # that of pyneural.layers
    share = getattr(module, name, 0) if name else 0
    return (f"{kind} with {name}={share} in training", f"set {name} to 0") if share else None
