"""What ``fit``, ``evaluate`` and ``predict`` are given, checked against the model and batched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyneural.training.checks import check, check_count
from pyneural.training.data.batches import Batches, LoaderBatches, TensorBatches
from pyneural.training.data.mapped import MappedRows, converted, parts_of
from pyneural.training.data.nested import call, each, first, leaves, several
from pyneural.training.data.stream import Stream, StreamBatches, is_stream
from pyneural.training.data.tensors import (
    check_finite,
    check_index,
    check_length,
    check_range,
    columns_of,
    rows,
    to_tensor,
)
from pyneural.training.data.weights import sample_weights
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.losses.functions import ANY, CLASSES, Loss
from pyneural.training.losses.several import LossesOfOutputs, label, with_outputs
from pyneural.training.structure import made_parameters


@dataclass(eq=False)
class DataAdapter:
    """Turns data into batches that a model and a loss can take."""

    where: str  # the function that the user called, for the text of errors
    model: nn.Module  # with its weights made
    loss: Loss | LossesOfOutputs | None  # None where the model has its own, or none is needed
    batch_size: int
    process_group: ProcessGroup = SINGLE_PROCESS

    def __post_init__(self) -> None:
        check_count(f"{self.where}: batch_size", self.batch_size, 32)
        made = made_parameters(self.model)
        parameter = next((p for p in made if p.is_floating_point()), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.dtype = torch.get_default_dtype() if parameter is None else parameter.dtype
        layers, embeddings = self.model.modules(), (nn.Embedding, nn.EmbeddingBag)
        self.whole_numbers = any(isinstance(layer, embeddings) for layer in layers)
        chain: list[nn.Module] = getattr(self.model, "chain", list)()
        table = getattr(chain[0], "embedding", chain[0]) if chain else None
        self.codes = table.num_embeddings if isinstance(table, embeddings) else None
        self._prediction: Any = None  # of the first sample of a DataLoader

    def inputs(self, x: Any, name: str = "x", mapped: bool = False) -> Any:
        """x, [N, ...], on the model's device, of its dtype or as whole numbers; [N, 1] for [N].

        Several inputs are a tuple or a dict of those. What is ``mapped`` from a file into memory
        may stay ``MappedRows``.
        """
        if several(x):
            parts = each(lambda part: converted(name, part, self._input, mapped), x)
            lengths = [len(part) for part in leaves(parts)]
            got, remedy = f"{lengths}", "give one row of each for each sample"
            good = len(set(lengths)) == 1
            check(good, f"{self.where}: {name}", "inputs of one length", got, remedy)
            return parts
        return converted(name, x, self._input, mapped)

    def _input(self, name: str, x: Any) -> Tensor:
        where, columns = f"{self.where}: {name}", columns_of(x)
        known = getattr(self.model, "feature_names", None)
        if columns is not None and known is not None and name.endswith("x"):
            expected, remedy = f"the columns {known}, as fit had", "write x[columns]"
            check(columns == known, where, expected, columns, remedy)
        x = to_tensor(where, x)
        counts = getattr(self.model, "takes_counts", False) and not x.is_complex()
        if x.is_floating_point() or counts:
            x = x.to(self.dtype)
            check_finite(where, x)
            if name.endswith("x") and hasattr(self.model, "check_inputs"):
                self.model.check_inputs(where, x)  # type: ignore[operator]
            return self._moved(x if x.dim() > 1 or self.whole_numbers else x[:, None])
        remedy = "scale them, as x.astype('float32') / 255 for images"
        good = self.whole_numbers and not x.is_complex()
        check(good, where, "floating-point numbers", x.dtype, remedy, TypeError)
        if self.codes is not None:
            check_range(where, x, self.codes - 1, f"the embedding has {self.codes} rows")
        return self._moved(x.long())

    def batches(
        self,
        data: tuple[Any, ...],
        *,
        class_weight: Mapping[int, float] | None = None,
        seed: int | None = None,
        name: str = "",
        steps: int | None = None,
    ) -> Batches:
        """Batches of (x, y, weight) or of (DataLoader, None, None), which must fit model and loss.

        Args:
            data: x, y and the weight of each sample, which may be None.
            class_weight: by number of the class; 1 for those that are missing.
            seed: of the order, None for that of the data.
            steps: batches an epoch of a generator.
            name: "validation_data: " before x and y in the text of errors.
        """
        x, y, sample_weight = data
        y = with_outputs(self.loss, y)
        where = f"{self.where}: {name}y"
        if isinstance(x, DataLoader) or is_stream(x):
            good = y is None and sample_weight is None and class_weight is None
            source = x.source if isinstance(x, Stream) else x
            kind = "DataLoader" if isinstance(source, DataLoader) else "generator"
            remedy = "let it give (x, y, weight)"
            check(good, where, f"nothing beside a {kind}", "y or weights", remedy)
            return self._loaded_batches(x, name, steps)
        remedy = f"for an autoencoder they are x: {self.where}(x, x)"
        check(y is not None or self.loss is None, where, "targets", "none", remedy)
        inputs, targets, weight = self.inputs(x, f"{name}x", mapped=True), None, None
        samples = len(first(inputs))
        if y is not None:
            predicted = None if self.loss is None else self._predicted(inputs)
            for value in leaves(y) if several(y) else [y]:
                check_index(where, first(x) if several(x) else x, value)
            same = y is x and not several(inputs) and inputs.dtype.is_floating_point
            targets = inputs if same else self._targets(y, name)
            for value in leaves(targets):
                check_length(where, value, samples)
            if self.loss is not None:
                targets = self._fit_to_prediction(predicted, targets, where)
        if class_weight is not None or sample_weight is not None:
            check_index(f"{self.where}: {name}sample_weight", x, sample_weight)
            labels = first(inputs if targets is None else targets)[:].cpu()
            argument = "class_weight"
            one = class_weight is None or not several(targets)
            where = f"{self.where}: {name}".removesuffix(": ")
            got, remedy = "several", "give sample_weight instead"
            check(one, f"{where}: {argument}", "one kind of targets", got, remedy)
            given = class_weight, sample_weight
            loss = None if isinstance(self.loss, LossesOfOutputs) else self.loss
            weight = sample_weights(where, labels, loss, *given, self.dtype).to(self.device)
        return TensorBatches(inputs, targets, weight, self.batch_size, seed, self.process_group)

    def probe(self, x: Any) -> Any:
        """The prediction of the first sample, [1, ...]; ValueError where the model refuses it."""
        sample = each(lambda part: part[:1].clone(), x)
        try:
            with evaluation_mode(self.model):
                return call(self.model, sample)
        except (RuntimeError, IndexError) as error:
            shapes = each(lambda part: tuple(part.shape[1:]), x)
            raise ValueError(
                f"{self.where}: x: expected samples that the model takes, got shape {shapes} each "
                f"({str(error).splitlines()[0]}); give the first layer that input shape, or "
                "reshape x"
            ) from error

    def _loaded_batches(self, x: Any, name: str, steps: int | None) -> Batches:
        """Of a DataLoader, or of a generator with so many steps an epoch."""
        convert, group = partial(self._loaded, name=name), self.process_group
        targets, argument = self.loss is not None, f"{self.where}: {name}x"
        where = argument.removesuffix(": x")
        if is_stream(x):
            trains = self.where == "fit"
            many = "validation_steps" if name else "steps_per_epoch" if trains else "steps"
            if trains or steps is not None:
                check_count(f"{self.where}: {many}", steps, 100)
            alone, remedy = group.size == 1, "give a DataLoader"
            check(alone, argument, "one process", f"{group.size} processes", remedy)
            stream = x if isinstance(x, Stream) else Stream(x)
            return StreamBatches(where, stream, steps, convert, self.device, targets, many)
        expected, remedy = "no number of steps, as a DataLoader has a length", "leave it out"
        check(steps is None, argument, expected, steps, remedy)
        kind = {"train": not name, "targets": targets}
        return LoaderBatches(where, x, convert, self.device, group, **kind)

    def _loaded(self, x: Any, y: Any, name: str) -> tuple[Any, Any]:
        """A batch of a DataLoader, checked and of the model's dtype like arrays."""
        inputs = self.inputs(x, f"{name}x")
        if y is None:
            return inputs, None
        targets = self._targets(y, name, moved=False)
        if self.loss is not None:
            if self._prediction is None:
                self._prediction = self._predicted(inputs)
            self._check_labels(f"{self.where}: {name}y", targets, self._prediction)
        return inputs, each(self._moved, targets)

    def _targets(self, y: Any, name: str, moved: bool = True) -> Any:
        where, loss = f"{self.where}: {name}y", self.loss
        y = with_outputs(loss, y)

        def of(name: str, own: Loss | None, values: Any) -> Any:
            return converted(name, values, partial(self._target, own, moved), mapped=moved)

        if isinstance(loss, LossesOfOutputs):
            parts = {
                output: of(f"{where}: {label(output)}", loss.losses[output], part)
                for output, part in loss.outputs(where, y, loss.weights).items()
            }
            return parts if loss.named else tuple(parts.values())
        return each(partial(of, where, loss), y) if several(y) else of(where, loss, y)

    def _target(self, loss: Loss | None, moved: bool, where: str, y: Any) -> Tensor:
        targets = to_tensor(where, y)
        # A function of the user's own may leave out targets that are nan.
        if loss is not None and (loss.target != ANY or loss.name in _OF_CLASSES):
            check_finite(where, targets)
        if loss is not None:
            floating = targets.is_floating_point()
            good = not targets.is_complex() or loss.target == ANY
            remedy = "give its real and imaginary part as two columns"
            check(good, where, "real numbers", targets.dtype, remedy, TypeError)
            if loss.target == CLASSES:
                whole = not floating or bool((targets == targets.round()).all())
                remedy = "for probabilities use categorical_crossentropy"
                check(whole, where, "whole numbers of classes", "fractions", remedy)
                targets = targets.long()
            elif floating or loss.target != ANY:  # else a user's own loss takes whole numbers
                targets = targets.to(targets.dtype if targets.is_complex() else self.dtype)
            elif targets.dtype != torch.bool:
                targets = targets.long()  # which is what torch's losses of classes take
        if hasattr(self.model, "check_targets"):
            self.model.check_targets(where, targets, columns_of(y))  # type: ignore[operator]
        return self._moved(targets) if moved else targets

    def _moved(self, value: Tensor) -> Tensor:
        # A copy from a GPU must be waited for, one to it need not.
        return value.to(self.device, non_blocking=self.device.type == "cuda")

    def _predicted(self, x: Any) -> Any:
        """The prediction of the first sample, by output where there are losses of several."""
        predicted, loss = self.probe(x), self.loss
        if isinstance(loss, LossesOfOutputs):
            return loss.outputs(f"{self.where}: prediction", predicted)
        return predicted

    def _fit_to_prediction(self, predicted: Any, y: Any, where: str) -> Any:
        """Y in the shape of the predictions, of which there is that of one sample."""
        loss = self.loss
        if isinstance(loss, LossesOfOutputs):
            pairs = y.items() if loss.named else enumerate(y)
            parts = {k: _aligned(loss.losses[k], part, predicted[k]) for k, part in pairs}
            y = parts if loss.named else tuple(parts.values())
        elif isinstance(y, (Tensor, MappedRows)) and isinstance(predicted, Tensor):
            y = _aligned(loss, y, predicted)
        self._check_labels(where, y, predicted)
        return y

    def _check_labels(self, where: str, y: Any, predicted: Any) -> None:
        """ValueError where labels are out of the range that a loss of the predictions takes."""
        loss = self.loss
        if isinstance(loss, LossesOfOutputs):
            for output, part in y.items() if loss.named else enumerate(y):
                own, place = loss.losses[output], f"{where}: {label(output)}"
                _check_labels(own, place, part, predicted[output].shape)
        elif isinstance(y, (Tensor, MappedRows)) and isinstance(predicted, Tensor):
            _check_labels(loss, where, y, predicted.shape)


def _aligned(loss: Loss | None, y: Any, predicted: Tensor) -> Any:
    """Y in the shape that the loss asks for, the prediction being that of one sample."""
    if loss is None:
        return y
    if isinstance(y, MappedRows):
        return y.then(partial(_aligned, loss, predicted=predicted))
    return loss.align(torch.empty((len(y), *predicted.shape[1:]), device="meta"), y)


def _check_labels(loss: Loss | None, where: str, y: Any, shape: torch.Size) -> None:
    """ValueError where labels are out of the range that a loss of predictions [N, ...] takes."""
    if loss is None:
        return
    of_classes = loss.name in _OF_CLASSES and not y.dtype.is_floating_point and len(shape) > 1
    if loss.target != CLASSES and loss.name not in _PROBABILITIES and not of_classes:
        return
    for part in parts_of(y):
        if loss.target == CLASSES:
            check_range(where, part, shape[-1] - 1, f"the last layer has {shape[-1]} units")
        elif loss.name in _PROBABILITIES:
            check_range(where, part, 1, f"{loss.name} takes probabilities")
        else:
            left_out = getattr(loss.function, "ignore_index", -100)
            labels = part[part != left_out]
            check_range(where, labels, shape[1] - 1, f"the last layer has {shape[1]} units")


_PROBABILITIES = ("binary_crossentropy", "BCELoss", "BCEWithLogitsLoss", "binary_cross_entropy",
                  "binary_cross_entropy_with_logits")  # fmt: skip
_OF_CLASSES = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")


def of_arrays(
    where: str, model: nn.Module, function: Callable[[Any], Tensor], x: Any, name: str = "x"
) -> Any:
    """A function of tensors; arrays and frames go through the model's device, and give an array."""
    if isinstance(x, Tensor):
        return function(x)
    inputs = DataAdapter(where, model, None, 1).inputs(x, name)
    with evaluation_mode(model):
        return function(inputs).cpu().numpy()


def split_off(
    where: str, data: tuple[Any, ...], fraction: float
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first part of arrays and the last one, which is the fraction, as Keras takes them."""
    argument = f"{where}: validation_split"
    check(0 < fraction < 1, argument, "a number in (0, 1)", fraction, "write 0.2")
    remedy = "give a second one as validation_data"
    from_arrays = not (isinstance(data[0], DataLoader) or is_stream(data[0]))
    check(from_arrays, argument, "arrays or tensors", f"a {type(data[0]).__name__}", remedy)
    one = first(data[0]) if several(data[0]) else data[0]
    samples = len(one)
    before_split = int(samples * (1 - fraction))
    got, remedy = f"{fraction} of {samples}", "give more samples, or validation_data"
    check(0 < before_split < samples, argument, "both parts to have samples", got, remedy)
    for name, value in zip(("y", "sample_weight"), data[1:], strict=True):
        for part in leaves(value) if several(value) else [value]:
            if part is not None:
                check_length(f"{where}: {name}", part, samples)
                check_index(f"{where}: {name}", one, part)
    before = tuple(_cut(value, None, before_split) for value in data)
    after = tuple(_cut(value, before_split, None) for value in data)
    return before, after


def _cut(value: Any, begin: int | None, end: int | None) -> Any:
    if several(value):
        return each(partial(rows, begin=begin, end=end), value)
    return None if value is None else rows(value, begin, end)


def as_triple(data: Any, alone: bool = False) -> tuple[Any, ...] | None:
    """validation_data as x, y and weight; ``alone``: an array may be x, as no y is needed."""
    if data is None:
        return None
    if alone and not isinstance(data, (tuple, list, dict)):
        return data, None, None
    if isinstance(data, DataLoader) or is_stream(data):
        return data, None, None
    good = isinstance(data, (tuple, list)) and len(data) in (2, 3)
    expected, remedy = "(x, y), (x, y, weight) or a DataLoader", "write validation_data=(x, y)"
    check(good, "fit: validation_data", expected, type(data).__name__, remedy)
    return (*data, None)[:3]
