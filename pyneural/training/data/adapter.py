"""What ``fit``, ``evaluate`` and ``predict`` are given, checked against the model and batched."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyneural.training.checks import check, check_count
from pyneural.training.data.batches import Batches, LoaderBatches, TensorBatches
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.losses.functions import ANY, CLASSES, Loss


@dataclass(eq=False)
class DataAdapter:
    """Turns data into batches that a model and a loss can take."""

    where: str  # the function that the user called, for the text of errors
    model: nn.Module  # with its weights made
    loss: Loss | None  # None where the model has its own, of whatever is given, or none is needed
    batch_size: int
    process_group: ProcessGroup = SINGLE_PROCESS

    def __post_init__(self) -> None:
        check_count(f"{self.where}: batch_size", self.batch_size, 32)
        parameter = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = torch.get_default_dtype() if parameter is None else parameter.dtype
        layers, embeddings = self.model.modules(), (nn.Embedding, nn.EmbeddingBag)
        self.whole_numbers = any(isinstance(layer, embeddings) for layer in layers)

    def inputs(self, x: Any, name: str = "x") -> Tensor:
        """x, [N, ...], on the model's device, of its dtype or as whole numbers."""
        where = f"{self.where}: {name}"
        x = _finite_tensor(where, x)
        if x.is_floating_point():
            return self._moved(x.to(self.dtype))
        remedy = "scale them, as x.astype('float32') / 255 for images"
        check(self.whole_numbers, where, "floating-point numbers", x.dtype, remedy, TypeError)
        return self._moved(x.long())

    def batches(
        self,
        data: tuple[Any, ...],
        *,
        class_weight: Mapping[int, float] | None = None,
        seed: int | None = None,
        name: str = "",
    ) -> Batches:
        """Batches of (x, y, weight) or of (DataLoader, None, None), which must fit model and loss.

        Args:
            data: x, y and the weight of each sample, which may be None.
            class_weight: by number of the class; 1 for those that are missing.
            seed: of the order, None for that of the data.
            name: "validation_data: " before x and y in the text of errors.
        """
        x, y, sample_weight = data
        where = f"{self.where}: {name}y"
        if isinstance(x, DataLoader):
            good = y is None and sample_weight is None and class_weight is None
            remedy = "let the loader give (x, y, weight)"
            check(good, where, "nothing beside a DataLoader", "y or weights", remedy)
            convert, group = partial(self._loaded, name=name), self.process_group
            kind = {"train": not name, "targets": self.loss is not None}
            return LoaderBatches(self.where, x, convert, self.device, group, **kind)
        remedy = f"for an autoencoder they are x: {self.where}(x, x)"
        check(y is not None or self.loss is None, where, "targets", "none", remedy)
        inputs, targets, weight = self.inputs(x, f"{name}x"), None, None
        if y is not None:
            targets = inputs if y is x and inputs.is_floating_point() else self._targets(y, name)
            _check_length(where, targets, len(inputs))
            if self.loss is not None:
                targets = self._fit_to_prediction(self.loss, inputs, targets, where)
        if class_weight is not None or sample_weight is not None:
            labels = (inputs if targets is None else targets).cpu()
            where = f"{self.where}: {name}".removesuffix(": ")
            weight = _sample_weights(where, labels, class_weight, sample_weight, self.dtype)
            weight = weight.to(self.device)
        return TensorBatches(inputs, targets, weight, self.batch_size, seed, self.process_group)

    def probe(self, x: Tensor) -> Any:
        """The prediction of the first sample, [1, ...]; ValueError where the model refuses it."""
        try:
            with evaluation_mode(self.model):
                return self.model(x[:1])
        except RuntimeError as error:
            raise ValueError(
                f"{self.where}: x: expected samples that the model takes, got shape "
                f"{tuple(x.shape[1:])} each ({str(error).splitlines()[0]}); give the first layer "
                "that input shape, or reshape x"
            ) from error

    def _loaded(self, x: Any, y: Any, name: str) -> tuple[Tensor, Tensor | None]:
        """A batch of a DataLoader, checked and of the model's dtype like arrays."""
        return self.inputs(x, f"{name}x"), None if y is None else self._targets(y, name)

    def _targets(self, y: Any, name: str) -> Tensor:
        where = f"{self.where}: {name}y"
        targets = _finite_tensor(where, y)
        if self.loss is not None:
            floating = targets.is_floating_point()
            if self.loss.target == CLASSES:
                whole = not floating or bool((targets == targets.round()).all())
                remedy = "for probabilities use categorical_crossentropy"
                check(whole, where, "whole numbers of classes", "fractions", remedy)
                targets = targets.long()
            elif floating or self.loss.target != ANY:  # else a user's own loss takes whole numbers
                targets = targets.to(self.dtype)
        return self._moved(targets)

    def _moved(self, value: Tensor) -> Tensor:
        # A copy from a GPU must be waited for, one to it need not.
        return value.to(self.device, non_blocking=self.device.type == "cuda")

    def _fit_to_prediction(self, loss: Loss, x: Tensor, y: Tensor, where: str) -> Tensor:
        """Y in the shape of the predictions; one sample is predicted to know that."""
        predicted = self.probe(x)
        if not isinstance(predicted, Tensor):
            return y
        shape = (len(x), *predicted.shape[1:])
        y = loss.align(torch.empty(shape, device="meta"), y)
        if loss.target == CLASSES:
            _check_range(where, y, shape[-1] - 1, f"the last layer has {shape[-1]} units")
        elif loss.name == "binary_crossentropy":
            _check_range(where, y, 1, "binary_crossentropy takes probabilities")
        return y


def split_off(
    where: str, data: tuple[Any, ...], fraction: float
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first part of arrays and the last one, which is the fraction, as Keras takes them."""
    argument = f"{where}: validation_split"
    check(0 < fraction < 1, argument, "a number in (0, 1)", fraction, "write 0.2")
    remedy = "give a second one as validation_data"
    from_arrays = not isinstance(data[0], DataLoader)
    check(from_arrays, argument, "arrays or tensors", "a DataLoader", remedy)
    samples = len(data[0])
    first = int(samples * (1 - fraction))
    got, remedy = f"{fraction} of {samples}", "give more samples, or validation_data"
    check(0 < first < samples, argument, "both parts to have samples", got, remedy)
    for name, value in zip(("y", "sample_weight"), data[1:], strict=True):
        if value is not None:
            _check_length(f"{where}: {name}", value, samples)
    before = tuple(None if value is None else value[:first] for value in data)
    after = tuple(None if value is None else value[first:] for value in data)
    return before, after


def as_triple(data: Any) -> tuple[Any, ...] | None:
    """validation_data as x, y and weight."""
    if data is None:
        return None
    if isinstance(data, DataLoader):
        return data, None, None
    good = isinstance(data, (tuple, list)) and len(data) in (2, 3)
    expected, remedy = "(x, y), (x, y, weight) or a DataLoader", "write validation_data=(x, y)"
    check(good, "fit: validation_data", expected, type(data).__name__, remedy)
    return (*data, None)[:3]


def _sample_weights(
    where: str,
    y: Tensor,
    class_weight: Mapping[int, float] | None,
    sample_weight: Any,
    floating: torch.dtype,
) -> Tensor:
    """Weight of each sample, [N]: its own times that of its class, 1 if that is missing.

    The classes y are whole numbers, [N] or [N, 1], or one-hot, [N, K].
    """
    weight = torch.ones(len(y), dtype=floating)
    if sample_weight is not None:
        argument = f"{where}: sample_weight"
        weight = _to_tensor(argument, sample_weight).to(floating)
        _check_length(argument, weight, len(y))
        weight = weight.reshape(len(y), -1)
        one_each, remedy = weight.shape[1] == 1, "give one weight a sample"
        check(one_each, argument, f"shape ({len(y)},)", tuple(weight.shape), remedy)
        weight = weight[:, 0].clone()
    if class_weight is not None:
        classes = y.argmax(-1) if y.dim() > 1 and y.shape[-1] > 1 else y.reshape(len(y), -1)[:, 0]
        present = classes.unique().tolist()
        for number, factor in class_weight.items():
            remedy = f"y has {present[:10]}"
            argument, expected = f"{where}: class_weight", "classes that are in y"
            check(number in present, argument, expected, repr(number), remedy)
            weight[classes == number] *= factor
    good = bool((weight >= 0).all() and weight.isfinite().all())
    check(good, f"{where}: sample_weight and class_weight", "finite numbers >= 0", "others")
    return weight


def _to_tensor(where: str, value: Any) -> Tensor:
    """A tensor of what is given: array, list, or tensor (as it is)."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(
                f"{where}: expected rows of one length, got {error}; pad or cut them"
            ) from error
        got, remedy = f"{type(value).__name__} of dtype {array.dtype}", "turn it into a float array"
        check(array.dtype.kind in "fiub", where, "an array of numbers", got, remedy, TypeError)
        # torch takes neither another byte order nor negative strides nor what cannot be written.
        forward = all(step >= 0 for step in array.strides)
        usable = forward and array.flags.writeable and array.dtype.isnative
        native = array.dtype.newbyteorder("=")
        value = torch.from_numpy(array if usable else np.array(array, dtype=native, order="C"))
    good, got = value.dim() > 0 and len(value) > 0, f"shape {tuple(value.shape)}"
    expected = "at least one sample in the first dimension"
    check(good, where, expected, got, "give [samples, ...]")
    return value.detach()


def _finite_tensor(where: str, value: Any) -> Tensor:
    """A tensor; an error has the number of values that are nan or infinite."""
    value = _to_tensor(where, value)
    # The extremes, which nan passes on to, are found ten times as fast as all that is not finite.
    if value.is_floating_point() and not all(end.isfinite() for end in value.aminmax()):
        bad = ~value.isfinite()
        sample = int(bad.reshape(len(bad), -1).any(1).nonzero()[0])
        raise ValueError(
            f"{where}: expected finite numbers, got {int(bad.sum()):,} of {value.numel():,} that "
            f"are nan or infinite (first in sample {sample}); remove or replace them"
        )
    return value


def _check_length(where: str, value: Tensor, samples: int) -> None:
    expected, remedy = f"{samples:,} samples, as x has", "give one row of each for each sample"
    check(len(value) == samples, where, expected, f"{len(value):,}", remedy)


def _check_range(where: str, y: Tensor, high: int, why: str) -> None:
    least, most = y.aminmax()
    if least < 0 or most > high:
        outside = int(((y < 0) | (y > high)).sum())
        raise ValueError(
            f"{where}: expected values from 0 to {high}, as {why}, got {outside:,} outside "
            f"(from {least.item():g} to {most.item():g}); scale or renumber them"
        )
