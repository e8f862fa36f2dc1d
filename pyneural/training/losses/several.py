"""A loss for each of several outputs of a model; their sum is minimised, as in Keras."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.training.checks import check
from pyneural.training.losses.functions import ANY, CLASSES, Loss


class LossesOfOutputs:
    """The sum of the losses of outputs, by name or, for a tuple of outputs, by place.

    >>> import torch
    >>> one, two = torch.ones(2, 1), torch.zeros(2, 1)
    >>> LossesOfOutputs({"a": "mse", "b": "mae"})({"a": one, "b": one}, {"a": two, "b": two}).item()
    2.0
    """

    def __init__(self, losses: Mapping[str, Any] | Sequence[Any]) -> None:
        named = losses if isinstance(losses, Mapping) else dict(enumerate(losses))
        check(bool(named), "compile: loss", "at least one loss", "none", "write 'mse'")
        self.losses = {name: Loss.of(loss) for name, loss in named.items()}

    def __call__(self, prediction: Any, y: Any) -> Tensor:
        """The sum, []."""
        outputs, targets = self._named("prediction", prediction), self._named("y", y)
        parts = []
        for name, loss in self.losses.items():
            target = targets[name]
            if loss.target not in (CLASSES, ANY):
                target = target.to(outputs[name].dtype)
            parts.append(loss(outputs[name], target))
        return sum(parts[1:], start=parts[0])

    def _named(self, argument: str, values: Any) -> Mapping[Any, Tensor]:
        pairs = values if isinstance(values, Mapping) else None
        if isinstance(values, (tuple, list)):
            pairs = dict(enumerate(values))
        names = ", ".join(map(repr, self.losses))
        good = pairs is not None and set(pairs) == set(self.losses)
        got = type(values).__name__ if pairs is None else f"those of {', '.join(map(repr, pairs))}"
        remedy = "give compile a loss for each output, and fit a y for each"
        check(good, f"fit: {argument}", f"outputs {names}, as loss has", got, remedy)
        return pairs  # type: ignore[return-value]


def loss_of(loss: Any) -> Loss:
    """A loss from a name, a function, or several of these for as many outputs."""
    if isinstance(loss, (Mapping, list, tuple)):
        return Loss("losses of several outputs", LossesOfOutputs(loss), ANY)
    return Loss.of(loss)
