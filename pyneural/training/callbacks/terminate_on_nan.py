"""Stops at a loss that is not finite, and finds out where that came from."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyneural.training.callback import Callback
from pyneural.training.data.batches import Batch


class TerminateOnNaN(Callback):
    """Stops before a loss that is nan or infinite spoils the weights.

    The reason, which is also a warning and ``History.stopped``, names the loss, the batch, and the
    first layer in the order of the forward pass whose weights or output are not finite. The loss
    of each batch is read from the device, which a GPU has to be waited for. L-BFGS, whose steps
    have several gradients, does not ask.

    >>> network = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> _ = nn.init.constant_(network[0].bias, float("inf"))
    >>> first_bad_layer(network, lambda: network(torch.ones(2, 1)))
    "layer '0' (Linear): its bias is not finite"
    """

    def on_gradients(self, batch: Batch, losses: Mapping[str, Tensor]) -> None:
        """Stops the training if a term of the loss is not finite in any process."""
        run = self.run
        bad = [name for name, loss in losses.items() if not bool(loss.isfinite())]
        if not run.process_group.any(bool(bad), run.device):
            return
        where = f"batch {run.step + 1} of epoch {run.epoch + 1}"
        if bad:
            title = run.model.title(bad[0])

            def forward() -> None:
                with contextlib.suppress(NotImplementedError):  # of a training_step alone
                    run.model.losses(batch)

            layer = first_bad_layer(run.model, forward) or _from_finite_layers(run, batch, title)
            value = float(losses[bad[0]])
            reason = f"TerminateOnNaN: loss {title!r} is {value} at {where}; {layer}"
            warnings.warn(reason, stacklevel=2)
        else:
            reason = f"TerminateOnNaN: a loss is not finite in another process at {where}"
        run.stop(reason)


@torch.no_grad()
def _from_finite_layers(run: Any, batch: Batch, title: str) -> str:
    """Where a loss is not finite although every layer is: its targets, or too large numbers."""
    if isinstance(getattr(batch, "y", None), Tensor) and not batch.y.isfinite().all():
        return "every layer is finite, but the targets are not"
    named = run.model.named_parameters()
    sizes = [(float(p.abs().max()), name) for name, p in named if p.numel()]
    largest, name = max(sizes)
    seen = f"the largest weight is {largest:.2g} (in {name})"
    if isinstance(getattr(batch, "x", None), Tensor):
        with contextlib.suppress(Exception):  # of a model whose losses call something else
            output = run.model(batch.x)
            seen += f", the largest output {float(output.abs().max()):.2g}"
    if isinstance(getattr(batch, "y", None), Tensor) and batch.y.numel():
        seen += f", the largest target {float(batch.y.abs().max()):.2g}"
    return f"every layer is finite, so that {title} itself overflows or has no value: {seen}"


@torch.no_grad()
def first_bad_layer(model: nn.Module, call: Callable[[], object]) -> str | None:
    """The first layer whose weights or output are not finite, in words; None if there is none.

    The layers are looked at as x leaves them in ``call()``, a forward pass, and so the inner ones
    first, unless the outer one does not call them, as ``nn.MLP``.
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

    layers = model.named_modules()
    hooks = [layer.register_forward_hook(partial(look, name)) for name, layer in layers]
    try:
        call()
    finally:
        for hook in hooks:
            hook.remove()
    if not found:  # the layers of a PINN are not called one by one
        look("", model, (), None)
    return found[0] if found else None
