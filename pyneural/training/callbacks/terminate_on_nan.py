"""Stops at a loss that is not finite, and finds out where that came from."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from pyneural.training.batches import Batch
from pyneural.training.callbacks.base import Callback


class TerminateOnNaN(Callback):
    """Stops before a loss that is nan or infinite spoils the weights.

    The reason, which is also a warning and ``History.stopped``, names the loss, the batch, and the
    first layer in the order of the forward pass whose weights or output are not finite. The loss
    of each batch is read from the device, which a GPU has to be waited for.

    >>> network = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> _ = nn.init.constant_(network[0].bias, float("inf"))
    >>> first_bad_layer(network, torch.ones(2, 1))
    "layer '0' (Linear): its bias is not finite"
    """

    def on_gradients(self, batch: Batch, loss: Tensor) -> None:
        """Stops the training if the loss is not finite in any process."""
        bad = not bool(loss.isfinite())
        process_group = self.loop.process_group
        if not process_group.any(bad, loss.device):
            return
        where = f"batch {self.loop.step + 1} of epoch {self.loop.epoch + 1}"
        name = self.loop.compile_config.loss.name
        if bad:
            layer = first_bad_layer(self.loop.model, batch.x) or (
                f"every layer is finite, so that {name} itself is not: look at the targets"
            )
            reason = f"TerminateOnNaN: loss {name!r} is {float(loss)} at {where}; {layer}"
            warnings.warn(reason, stacklevel=2)
        else:
            reason = f"TerminateOnNaN: loss {name!r} is not finite in another process at {where}"
        self.loop.stop(reason)


@torch.no_grad()
def first_bad_layer(model: nn.Module, x: Tensor) -> str | None:
    """The first layer whose weights or output are not finite, in words; None if there is none.

    Args:
        model: any; its layers are looked at as x leaves them, and so the inner ones first, unless
            the outer one does not call them, as ``nn.MLP``.
        x: a batch.
    """
    found: list[str] = []

    def look(name: str, layer: nn.Module, inputs: tuple, output: object) -> None:
        kind = type(layer).__name__
        label = f"layer {name!r} ({kind})" if name else f"the model ({kind})"
        for parameter, value in layer.named_parameters():
            if not value.isfinite().all():
                found.append(f"{label}: its {parameter} is not finite")
                return
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(f"{label}: its output is not finite, from finite weights")

    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, output, name=name: look(name, layer, inputs, output)
        )
        for name, layer in model.named_modules()
    ]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None
