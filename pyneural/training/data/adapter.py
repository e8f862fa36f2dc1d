"""What ``fit``, ``evaluate`` and ``predict`` are given, checked against the model and batched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyneural.training.checks import check, check_count
from pyneural.training.data import arrays
from pyneural.training.data.batches import Batches, LoaderBatches, TensorBatches
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.losses.functions import CLASSES, Loss, target_dtype


class DataAdapter:
    """Turns data into batches that a model and a loss can take.

    Args:
        where: the function that the user called, for the text of errors.
        model: with its weights made.
        loss: None where the model has its own, of x and whatever y is given, or none is needed.
        batch_size: samples of a batch.
        process_group: the processes.
    """

    def __init__(
        self,
        where: str,
        model: nn.Module,
        loss: Loss | None,
        batch_size: int,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        check_count(f"{where}: batch_size", batch_size, 32)
        self.where, self.model, self.loss = where, model, loss
        self.batch_size, self.process_group = batch_size, process_group
        parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = torch.get_default_dtype() if parameter is None else parameter.dtype
        self.whole_numbers = any(
            isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) for layer in model.modules()
        )

    def inputs(self, x: Any, name: str = "x") -> Tensor:
        """x, [N, ...], on the model's device."""
        where = f"{self.where}: {name}"
        return self._moved(arrays.to_input(where, x, self.dtype, self.whole_numbers))

    def batches(
        self,
        data: tuple[Any, ...],
        *,
        class_weight: Mapping[int, float] | None = None,
        seed: int | None = None,
        name: str = "",
    ) -> Batches:
        """Batches of (x, y, weight) or of (DataLoader, None, None).

        Args:
            data: x, y and the weight of each sample, which may be None.
            class_weight: see ``arrays.sample_weights``.
            seed: of the order, None for that of the data.
            name: "validation_data: " before x and y in the text of errors.

        Raises:
            ValueError: lengths, shapes or values that do not fit each other, model or loss.
            TypeError: no numbers, or whole numbers for a float layer.
        """
        x, y, sample_weight = data
        if isinstance(x, DataLoader):
            if y is not None or sample_weight is not None or class_weight is not None:
                raise ValueError(
                    f"{self.where}: {name}y: expected nothing beside a DataLoader, got y or "
                    "weights; let the loader give (x, y, weight)"
                )
            convert = partial(self._loaded, name=name)
            return LoaderBatches(
                self.where,
                x,
                convert,
                self.device,
                self.process_group,
                train=not name,
                targets=self.loss is not None,
            )
        if y is None and self.loss is not None:
            raise ValueError(
                f"{self.where}: {name}y: expected targets, got none; for an autoencoder they are "
                f"x: {self.where}(x, x)"
            )
        inputs, targets, weight = self.inputs(x, f"{name}x"), None, None
        if y is not None:
            targets = inputs if y is x and inputs.is_floating_point() else self._targets(y, name)
            arrays.check_length(f"{self.where}: {name}y", targets, len(inputs))
            if self.loss is not None:
                targets = self._fit_to_prediction(self.loss, inputs, targets, name)
        if class_weight is not None or sample_weight is not None:
            where = f"{self.where}: {name}".removesuffix(": ")
            labels = inputs if targets is None else targets
            given = arrays.sample_weights(
                where, labels.cpu(), class_weight, sample_weight, self.dtype
            )
            weight = given.to(self.device)
        return TensorBatches(inputs, targets, weight, self.batch_size, seed, self.process_group)

    def _loaded(self, x: Any, y: Any, name: str) -> tuple[Tensor, Tensor | None]:
        """A batch of a DataLoader, checked and of the model's dtype like arrays."""
        return self.inputs(x, f"{name}x"), None if y is None else self._targets(y, name)

    def _targets(self, y: Any, name: str) -> Tensor:
        where = f"{self.where}: {name}y"
        targets = arrays.to_tensor(where, y)
        arrays.check_finite(where, targets)
        if self.loss is not None:
            dtype = target_dtype(self.loss, targets, self.dtype)
            fractions_fit = dtype.is_floating_point or not targets.is_floating_point()
            whole = fractions_fit or bool((targets == targets.round()).all())
            remedy = "for probabilities use categorical_crossentropy"
            check(whole, where, "whole numbers of classes", "fractions", remedy)
            targets = targets.to(dtype)
        return self._moved(targets)

    def _moved(self, value: Tensor) -> Tensor:
        # A copy from a GPU must be waited for, one to it need not.
        return value.to(self.device, non_blocking=self.device.type == "cuda")

    def _fit_to_prediction(self, loss: Loss, x: Tensor, y: Tensor, name: str) -> Tensor:
        """Y in the shape of the predictions; one sample is predicted to know that."""
        where = f"{self.where}: {name}y"
        predicted = self.probe(x)
        if not isinstance(predicted, Tensor):
            return y
        shape = (len(x), *predicted.shape[1:])
        y = loss.align(torch.empty(shape, device="meta"), y)
        if loss.target == CLASSES:
            _check_range(where, y, 0, shape[-1] - 1, f"the last layer has {shape[-1]} units")
        elif loss.name == "binary_crossentropy":
            _check_range(where, y, 0, 1, "binary_crossentropy takes probabilities")
        return y

    def probe(self, x: Tensor) -> Any:
        """The prediction of the first sample, [1, ...].

        Raises:
            ValueError: the model does not take samples of this shape.
        """
        try:
            with evaluation_mode(self.model):
                return self.model(x[:1])
        except RuntimeError as error:
            raise ValueError(
                f"{self.where}: x: expected samples that the model takes, got shape "
                f"{tuple(x.shape[1:])} each ({str(error).splitlines()[0]}); give the first layer "
                "that input shape, or reshape x"
            ) from error


def split_off(
    where: str, data: tuple[Any, ...], fraction: float
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first part of arrays and the last one, which is the fraction, as Keras takes them.

    Raises:
        ValueError: a fraction outside of (0, 1), a part without samples, or a DataLoader.

    >>> split_off("fit", ([1, 2, 3, 4], [5, 6, 7, 8], None), 0.25)
    (([1, 2, 3], [5, 6, 7], None), ([4], [8], None))
    """
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
            arrays.check_length(f"{where}: {name}", value, samples)
    before = tuple(None if value is None else value[:first] for value in data)
    after = tuple(None if value is None else value[first:] for value in data)
    return before, after


def as_triple(data: Any) -> tuple[Any, ...] | None:
    """validation_data as x, y and weight."""
    if data is None:
        return None
    if isinstance(data, DataLoader):
        return data, None, None
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return (*data, None)[:3]
    raise ValueError(
        f"fit: validation_data: expected (x, y), (x, y, weight) or a DataLoader, got "
        f"{type(data).__name__}; write validation_data=(x, y)"
    )


def _check_range(where: str, y: Tensor, low: int, high: int, why: str) -> None:
    least, most = y.aminmax()
    if least < low or most > high:
        outside = int(((y < low) | (y > high)).sum())
        raise ValueError(
            f"{where}: expected values from {low} to {high}, as {why}, got {outside:,} outside "
            f"(from {least.item():g} to {most.item():g}); scale or renumber them"
        )
