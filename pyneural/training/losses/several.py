"""Losses and metrics for each of several outputs of a model, as in Keras.

Outputs have names, those of a dict, or, in a tuple, places. In the names of curves the output at
place 0 is called "output_0".
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from typing import Any

from torch import Tensor

from pyneural.training.checks import check
from pyneural.training.losses.functions import Loss
from pyneural.training.losses.metrics import Metric, MetricFunction


class LossesOfOutputs:
    """The weighted sum of the losses of outputs, by name or, for a tuple of outputs, by place.

        loss = sum_k weight_k loss_k(prediction[k], y[k])

    Args:
        losses: by name, or in the order of the outputs; None for an output without one.
        weights: by name, or in that order; None for 1.

    >>> import torch
    >>> one, two = {"a": torch.ones(2, 1)}, {"a": torch.full((2, 1), 3.0)}
    >>> LossesOfOutputs({"a": "mse"}, {"a": 0.5}).terms(one, two)
    {'loss': tensor(2.)}
    """

    def __init__(
        self,
        losses: Mapping[str, Any] | Sequence[Any],
        weights: Mapping[str, float] | Sequence[float] | None = None,
    ) -> None:
        self.named = isinstance(losses, Mapping)
        given = dict(losses) if isinstance(losses, Mapping) else dict(enumerate(losses))
        self.losses: dict[Any, Loss | None] = {
            name: None if loss is None else Loss.of(loss) for name, loss in given.items()
        }
        trained = [name for name, loss in self.losses.items() if loss is not None]
        check(bool(trained), "compile: loss", "at least one loss", "none", "write 'mse'")
        self.weights = dict.fromkeys(trained, 1.0)
        if weights is not None:
            pairs = self.by_output("compile: loss_weights", weights)
            for name in trained:
                self.weights[name] = _weight(pairs.get(name))
        # As in Keras a single loss has no curve beside that of the sum.
        curves = {name: f"{label(name)}_loss" for name in trained}
        self._curves = curves if len(trained) > 1 else {}
        self.curves = ["loss", *self._curves.values()]

    @property
    def name(self) -> str:
        """The sum in words."""
        terms = ((w, self.losses[k], label(k)) for k, w in self.weights.items())
        return " + ".join(f"{w:g} {loss.name}({k})" for w, loss, k in terms if loss is not None)

    def terms(self, prediction: Any, y: Any, weight: Tensor | None = None) -> dict[str, Tensor]:
        """The sum, [], and the loss of each output by the name of its curve."""
        outputs = self.outputs("loss: prediction", prediction)
        targets = self.outputs("loss: y", y, self.weights)
        parts = {
            name: loss(outputs[name], targets[name], weight)
            for name, loss in self.losses.items()
            if loss is not None
        }
        terms = [self.weights[name] * part for name, part in parts.items()]
        curves = {curve: parts[name].detach() for name, curve in self._curves.items()}
        return {"loss": sum(terms[1:], start=terms[0]), **curves}

    def outputs(self, argument: str, values: Any, needed: Any = None) -> dict[Any, Any]:
        """Values by output; ValueError unless they are those of all, or of those needed."""
        wanted = set(self.losses if needed is None else needed)
        pairs = _pairs(values)
        if needed is None:
            forms = ("dict", "dict") if self.named else ("tuple", "list")
            expected = f"a {forms[0]} of outputs, as loss is a {forms[1]}"
            got = f"one output, a {type(values).__name__}"
            check(pairs is not None, argument, expected, got, "give compile one loss, as 'mse'")
        good = pairs is not None and wanted <= set(pairs) <= set(self.losses)
        got = type(values).__name__ if pairs is None else f"those of {_listed(pairs)}"
        remedy = "give compile a loss, or None, for each output, and a y for each that has a loss"
        check(good, argument, f"outputs {_listed(self.losses)}, as loss has", got, remedy)
        return pairs  # type: ignore[return-value]

    def by_output(self, argument: str, values: Any) -> dict[Any, Any]:
        """What ``compile`` was given for each output, in the form in which loss is given."""
        form = "a dict" if self.named else "a list"
        expected = f"{form} for outputs {_listed(self.losses)}, as loss has"
        listed = isinstance(values, (list, tuple))
        pairs = _pairs(values) if isinstance(values, Mapping) or listed else None
        good = pairs is not None and isinstance(values, Mapping) == self.named
        got = type(values).__name__ if pairs is None else f"{type(values).__name__} {values!r}"
        check(good, argument, expected, got, f"write {form}")
        unknown = set(pairs or ()) - set(self.losses)
        good = not unknown and (self.named or len(values) == len(self.losses))
        got = f"one for {_listed(unknown or pairs or ())}"
        check(good, argument, expected, got, "write one for each")
        return pairs  # type: ignore[return-value]


def loss_of(loss: Any, weights: Any = None) -> Loss | LossesOfOutputs:
    """A loss from a name, a function, or several of these for as many outputs."""
    if isinstance(loss, (Mapping, list, tuple)):
        return LossesOfOutputs(loss, weights)
    remedy = "give a loss for each output, or multiply the learning rate"
    check(weights is None, "compile: loss_weights", "none beside one loss", weights, remedy)
    return Loss.of(loss)


def metrics_of(metrics: Any, loss: Loss | LossesOfOutputs) -> list[Metric]:
    """Metrics of the prediction, or of each of several outputs, of which one may have several."""
    given: Mapping[Any, Any]
    losses: Mapping[Any, Loss | None]
    if isinstance(loss, LossesOfOutputs):
        given = loss.by_output("compile: metrics", metrics) if metrics else {}
        losses = loss.losses
    elif isinstance(metrics, Mapping):  # it is not known yet which outputs there are
        given, losses = metrics, dict.fromkeys(metrics, loss)
    else:
        return [Metric.of(metric, loss) for metric in metrics]
    measured = []
    for name, of_output in given.items():
        one = isinstance(of_output, str) or callable(of_output)
        for one_of_output in [of_output] if one else of_output or ():
            metric = Metric.of(one_of_output, losses[name])
            function = partial(_of_output, name, metric.function)
            title = f"{label(name)}_{metric.name}"
            measured.append(replace(metric, name=title, function=function))
    return measured


def with_outputs(loss: Any, y: Any) -> Any:
    """Targets, those of several outputs as a tuple where they are a list, as Keras has them."""
    listed = isinstance(loss, LossesOfOutputs) and isinstance(y, list)
    return tuple(y) if listed else y


def label(output: Any) -> str:
    """The name of an output in curves."""
    return output if isinstance(output, str) else f"output_{output}"


def _of_output(output: Any, function: MetricFunction, prediction: Any, y: Any) -> Tensor:
    parts = []
    for argument, values in (("prediction", prediction), ("y", y)):
        pairs = _pairs(values) or {}
        got = _listed(pairs) or type(values).__name__
        expected = f"an output {output!r}, as metrics has"
        check(output in pairs, f"metrics: {argument}", expected, got, "name one of the outputs")
        parts.append(pairs[output])
    return function(*parts)


def _weight(value: Any) -> float:
    good = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    expected, remedy = "a finite number for each output that has a loss", "write 1.0"
    check(good, "compile: loss_weights", expected, repr(value), remedy)
    return float(value)


def _pairs(values: Any) -> dict[Any, Any] | None:
    """Several values by name or place; None of a single one."""
    if isinstance(values, Mapping):
        return dict(values)
    return dict(enumerate(values)) if isinstance(values, (tuple, list)) else None


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
