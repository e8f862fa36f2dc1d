"""A network with ``compile``, ``fit``, ``evaluate`` and ``predict``, as Keras has them."""

import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyneural.training.callback import Callback, check_callbacks
from pyneural.training.callbacks import Checkpoint, EpochProgress, TimeLimit
from pyneural.training.callbacks.progress import BAR, SILENT, Bar, check_verbose
from pyneural.training.checks import check, check_count
from pyneural.training.data.adapter import DataAdapter, as_triple, split_off
from pyneural.training.data.batches import Batch, samples_of
from pyneural.training.distributed import ProcessGroup
from pyneural.training.evaluation import evaluate, evaluation_mode
from pyneural.training.history import History
from pyneural.training.losses.functions import Loss, LossFunction
from pyneural.training.losses.metrics import Metric, MetricFunction
from pyneural.training.losses.table import check_loss_and_last_layer, last_layer
from pyneural.training.run import Run
from pyneural.training.solvers.descent import Descent
from pyneural.training.solvers.optimizers import OptimizerFactory, make_optimizer
from pyneural.training.summary import ParameterCount, count_parameters
from pyneural.training.trainable import Trainable


@dataclass
class CompileConfig:
    """What ``Model.compile`` was given."""

    descent: Descent  # the phase of ``fit``; with its optimiser once there is something to optimise
    loss: Loss | None  # None where the model has ``losses`` of its own
    metrics: list[Metric]  # shown beside it

    def __post_init__(self) -> None:
        descent = self.descent
        halves, where = (torch.float16, torch.bfloat16), "compile: mixed_precision"
        expected, remedy = "torch.float16, torch.bfloat16 or None", "for float64 use model.double()"
        good = descent.mixed_precision in (None, *halves)
        check(good, where, expected, descent.mixed_precision, remedy)
        good = descent.clip_norm is None or 0 < descent.clip_norm < math.inf
        check(good, "compile: clip_norm", "a number > 0", descent.clip_norm, "write 1.0")
        check_count("compile: accumulation_steps", descent.accumulation_steps, 1)

    def make_optimizer(self, parameters: Iterable[Tensor]) -> None:
        """Makes the optimiser of these parameters, or checks one that is made."""
        made = make_optimizer(self.descent.optimizer, parameters)  # type: ignore[arg-type]
        self.descent = replace(self.descent, optimizer=made)


class Model(Trainable):
    """Any torch module with Keras's way of training; or a base class to write ``forward`` in.

    ``compile`` is Keras's. To compile the module in torch's sense, wrap what
    ``torch.compile(module)`` gives. A subclass whose loss is more than a function of prediction and
    target, as a variational autoencoder's, has ``losses`` of its own (see ``Trainable``) and is
    compiled without a loss.

    Args:
        module: the network; a subclass that has its own ``forward`` gives none.

    >>> import numpy as np
    >>> _ = torch.manual_seed(0)
    >>> model = Model(nn.Linear(1, 1))
    >>> model.compile("sgd", "mse")
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> history = model.fit(x, 3 * x + 1, epochs=50, batch_size=8, verbose=0)
    >>> model.predict(np.array([[2.0]])).round(1)
    array([[7.]], dtype=float32)
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        super().__init__()
        self._compile_config: CompileConfig | None = None
        if module is not None:
            self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The network's output."""
        if "module" not in self._modules:
            kind, remedy = type(self).__name__, "write Model(module), or forward in the subclass"
            expected = "a forward method or a module"
            raise NotImplementedError(f"{kind}: expected {expected}, got neither; {remedy}")
        return self.module(x)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss, and the metrics, whose weight is 0; a subclass may have its own."""
        config = self.compile_config("losses")
        if config.loss is None:
            return super().losses(batch)
        dtype = config.descent.mixed_precision
        with nullcontext() if dtype is None else torch.autocast(batch.x.device.type, dtype):
            prediction = self(batch.x)
        losses = {"loss": config.loss(prediction, batch.y, batch.weight)}
        for metric in config.metrics:
            losses[metric.name] = metric(prediction.detach(), batch.y)
        return losses

    def build(self, x: Tensor) -> None:
        """Makes weights whose shapes depend on the samples, [N, ...], as torch's lazy layers do."""
        with evaluation_mode(self):
            self(x[:1])

    def compile(
        self,
        optimizer: str | torch.optim.Optimizer | OptimizerFactory,
        loss: str | LossFunction | None = None,
        metrics: Sequence[str | MetricFunction] = (),
        *,
        mixed_precision: torch.dtype | None = None,
        clip_norm: float | None = None,
        accumulation_steps: int = 1,
    ) -> None:
        """Says how to train; warns where last layer, activation and loss do not fit.

        Args:
            optimizer: one of Keras's names, with Keras's defaults; a torch optimiser of the
                model's parameters; or what makes one: ``partial(torch.optim.Adam, lr=1e-2)``.
            loss: one of Keras's names, or a function or module of (prediction, y), as torch's; None
                where the model has ``losses`` of its own.
            metrics: names, those of losses included, or functions of (prediction, y).
            mixed_precision: torch.bfloat16 or torch.float16 for products under torch.autocast.
            clip_norm: largest norm of the gradient, > 0.
            accumulation_steps: parts that each batch is cut into: the same update from less memory.

        Raises:
            ValueError: an unknown name or a number out of its range.
            TypeError: neither name nor function.
        """
        if isinstance(metrics, str) or callable(metrics):
            metrics = [metrics]
        own_losses = type(self).losses is not Model.losses
        good = (loss is None) == own_losses and not (own_losses and metrics)
        expected = "none, nor metrics, as the model has losses of its own" if own_losses else "one"
        remedy = "write 'mean_squared_error', or losses in a subclass, but not both"
        check(good, "compile: loss", expected, f"{loss!r} and {list(metrics)}", remedy)
        to_minimise = None if loss is None else Loss.of(loss)
        measured = [] if to_minimise is None else [Metric.of(m, to_minimise) for m in metrics]
        descent = Descent(optimizer, None, 1, mixed_precision, clip_norm, accumulation_steps)
        config = CompileConfig(descent, to_minimise, measured)
        if self._has_weights() or not (isinstance(optimizer, str) or callable(optimizer)):
            config.make_optimizer(self.parameters())
        self._compile_config = config
        if to_minimise is None:
            return
        self.loss_weights = dict.fromkeys((metric.name for metric in measured), 0.0)
        last = last_layer(unchained(self.chain()))
        wrong = None if last is None else check_loss_and_last_layer(to_minimise.name, *last)
        if wrong is not None:
            warnings.warn(f"compile: {wrong}", stacklevel=2)

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: int = BAR,
        callbacks: Sequence[Callback] = (),
        validation_split: float | None = None,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        every: float = 10.0,
        resume: bool = False,
        time_limit: float | None = None,
    ) -> History:
        """Trains.

        Under ``torchrun`` each process takes its part of every batch, ``batch_size`` being that of
        all processes together, so that the same script gives the same result (but for batch
        normalisation, which sees the samples of one process). Ctrl-C lets the batch end, writes the
        checkpoint and returns. The model is in evaluation mode afterwards.

        Args:
            x: arrays or tensors, [N, ...], which are moved to the model's device; or a DataLoader
                of (x, y) or (x, y, weight).
            y: targets, [N, ...]; None with a DataLoader.
            batch_size: samples of an update; a DataLoader has its own.
            epochs: passes through the data, in total with those before a resumption.
            verbose: 0 for nothing, 1 for a bar, 2 for a line an epoch.
            callbacks: see ``pyneural.training.callbacks``.
            validation_split: share of the samples, from the end, that is measured and not trained
                on; in (0, 1).
            validation_data: (x, y), (x, y, weight) or a DataLoader that is measured instead.
            shuffle: whether each epoch has an order of its own; torch.manual_seed determines it.
            class_weight: factor on the loss by number of the class.
            sample_weight: factor on the loss of each sample, [N].
            checkpoint: file, ``*.safetensors``, for the whole state of the training.
            every: seconds between two checkpoints inside an epoch.
            resume: whether to go on from the checkpoint, bit by bit, if there is one.
            time_limit: seconds of training after which to stop; None for no limit.

        Returns:
            curves of loss and metrics.

        Raises:
            RuntimeError: ``compile`` was not called.
            ValueError: arguments or data that do not fit.
            TypeError: data that are no numbers, or whole numbers for a float layer.
            CheckpointError: a checkpoint that is damaged or of another training.
        """
        compile_config = self.compile_config("fit")
        check_count("fit: epochs", epochs, 1)
        check_verbose("fit", verbose)
        check_callbacks("fit", callbacks)
        good, remedy = checkpoint is not None or not resume, "give checkpoint=PATH"
        check(good, "fit: resume", "a checkpoint to go on from", "none", remedy)
        good = not validation_split or validation_data is None
        expected = "one of validation_split and validation_data"
        check(good, "fit: validation_split", expected, "both", "leave one out")
        data: tuple[Any, ...] = (x, y, sample_weight)
        validation = as_triple(validation_data)
        if validation_split:
            data, validation = split_off("fit", data, validation_split)
        self._build_for("fit", data[0])
        process_group = ProcessGroup.join(self)
        compile_config.make_optimizer(self.parameters())
        adapter = DataAdapter("fit", self, compile_config.loss, batch_size, process_group)
        # Drawn whether it is used or not, so that shuffling changes no other random number.
        seed = process_group.from_first(int(torch.randint(2**62, ())), adapter.device)
        order = seed if shuffle else None
        batches = adapter.batches(data, class_weight=class_weight, seed=order)
        held_out = None
        if validation is not None:
            held_out = adapter.batches(validation, name="validation_data: ")
        beside = [*callbacks, TimeLimit(time_limit), EpochProgress(verbose)]
        phases = [replace(compile_config.descent, epochs=epochs)]
        run = Run(self, phases, batches, beside, held_out, process_group)
        if checkpoint is not None:
            saved = Checkpoint(checkpoint, every, each_epoch=True)
            run.callbacks.append(saved)
            if resume and saved.exists():
                saved.load(run, "fit")
        run()
        return run.history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        verbose: int = SILENT,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Means of loss and metrics over data, in evaluation mode; arguments as in ``fit``.

        Returns:
            the loss, or with metrics a list that begins with it; by name with ``return_dict``.
        """
        compile_config = self.compile_config("evaluate")
        check_verbose("evaluate", verbose)
        self._build_for("evaluate", x)
        adapter = DataAdapter("evaluate", self, compile_config.loss, batch_size)
        batches = adapter.batches((x, y, sample_weight))
        bar = Bar(len(batches), verbose)
        with evaluation_mode(self):
            means = evaluate(self, batches, show=partial(bar.over, "evaluate"))
        if return_dict:
            return means
        return list(means.values()) if len(means) > 1 else means["loss"]

    def predict(self, x: Any, batch_size: int = 32, verbose: int = SILENT) -> Any:
        """Outputs in evaluation mode, [N, ...]; arguments as in ``fit``, or a DataLoader of x.

        Returns:
            a tensor for tensors on their device, else an array.
        """
        check_verbose("predict", verbose)
        self._build_for("predict", x)
        adapter = DataAdapter("predict", self, None, batch_size)
        if isinstance(x, DataLoader):
            parts: Iterable[Tensor] = (adapter.inputs(samples_of(batch)) for batch in x)
            steps = len(x) if hasattr(x.dataset, "__len__") else None
        else:
            inputs = adapter.inputs(x)
            adapter.probe(inputs)
            parts, steps = inputs.split(batch_size), -(-len(inputs) // batch_size)
        with evaluation_mode(self):
            shown = Bar(steps, verbose).over("predict", parts)
            predicted = torch.cat([self(part) for part in shown])
        if isinstance(x, Tensor):
            return predicted.to(x.device)
        return predicted.cpu().numpy() if not isinstance(x, DataLoader) else predicted

    def count(self) -> ParameterCount:
        """The parameters, a layer a row."""
        return count_parameters(self.module if "module" in self._modules else self)

    def summary(self) -> None:
        """Prints the layers with their parameters.

        >>> Model(nn.Sequential(nn.Linear(3, 4), nn.ReLU())).summary()
        layer       output  parameters  of which
        0 (Linear)          16          3 x 4 weight + 4 bias
        1 (ReLU)            0
        total 16, trained 16
        """
        print(self.count())

    def chain(self) -> list[nn.Module]:
        """The layers that x goes through in turn, as a subclass may say; else the model itself."""
        inner = self._modules.get("module")
        return [self] if inner is None else unchained([inner])

    def title(self, name: str) -> str:
        """The loss by its full name."""
        loss = None if self._compile_config is None else self._compile_config.loss
        return loss.name if loss is not None and name == "loss" else name

    def config(self) -> dict[str, Any]:
        """What a resumed training must have in common with the first one."""
        config = self.compile_config("fit")
        loss = None if config.loss is None else config.loss.name
        metrics = [metric.name for metric in config.metrics]
        return {**super().config(), "loss": loss, "metrics": metrics}

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one that trains the model; RuntimeError before there is one."""
        made = self.compile_config("optimizer").descent.optimizer
        if not isinstance(made, torch.optim.Optimizer):
            got = "one that waits for its input shape"
            remedy = "call fit, or give the first layer an input_shape"
            raise RuntimeError(f"optimizer: expected a model with weights, got {got}; {remedy}")
        return made

    def compile_config(self, where: str) -> CompileConfig:
        """What ``compile`` was given; RuntimeError if it was not called."""
        config, remedy = self._compile_config, "call compile(optimizer, loss) first"
        if config is None:
            raise RuntimeError(f"{where}: expected a compiled model, got one that is not; {remedy}")
        return config

    def _has_weights(self) -> bool:
        return has_weights(self)

    def _build_for(self, where: str, x: Any) -> None:
        """Lets a model whose weights are not made see the first samples."""
        if self._has_weights():
            return
        if isinstance(x, DataLoader):
            batch = next(iter(x), None)
            if batch is None:
                return  # an empty one, which is refused where it is looked at
            x = samples_of(batch)
        self.build(DataAdapter(where, self, None, 1).inputs(x[:1] if len(x) else x))


def has_weights(layer: nn.Module) -> bool:
    """Whether all weights are made."""
    return not any(nn.parameter.is_lazy(parameter) for parameter in layer.parameters())


def unchained(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Layers, with those of a ``Model`` or torch's Sequential among them in its place."""
    flat: list[nn.Module] = []
    for layer in layers:
        for inner in layer.chain() if isinstance(layer, Model) else [layer]:
            flat += unchained(inner) if isinstance(inner, nn.Sequential) else [inner]
    return flat
