"""A network with ``compile``, ``fit``, ``evaluate`` and ``predict``, as Keras has them."""

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyneural.errors import is_whole
from pyneural.training.callback import Callback, check_callbacks
from pyneural.training.callbacks import Checkpoint, EpochProgress, TimeLimit
from pyneural.training.callbacks.progress import BAR, SILENT, Bar, checked_verbose
from pyneural.training.checks import check, check_count
from pyneural.training.compile_config import CompileConfig
from pyneural.training.data.adapter import DataAdapter, as_triple, split_off
from pyneural.training.data.batches import Batch, samples_of
from pyneural.training.data.nested import call, detached, each, first, several
from pyneural.training.data.stream import Stream, as_stream, first_batch
from pyneural.training.data.tensors import columns_of, rows
from pyneural.training.distributed import ProcessGroup
from pyneural.training.errors import readable
from pyneural.training.evaluation import evaluate, evaluation_mode
from pyneural.training.history import History
from pyneural.training.losses.functions import LossFunction
from pyneural.training.losses.metrics import check_names
from pyneural.training.losses.several import loss_of, metrics_of, with_outputs
from pyneural.training.losses.table import check_loss_and_last_layer, last_layer
from pyneural.training.prediction import predict_batches
from pyneural.training.run import Run
from pyneural.training.solvers.descent import Descent, Optimizer
from pyneural.training.solvers.objective import REGULARIZATION
from pyneural.training.structure import apply_trainable, has_weights, unchained
from pyneural.training.summary import ParameterCount, count_parameters
from pyneural.training.trainable import Trainable


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
        self.feature_names: list[Any] | None = None  # columns of the frame that fit was given
        if module is not None:
            self.module = module

    def forward(self, *x: Any, **named: Any) -> Any:
        """The network's output; several inputs stand in their order, or by name."""
        if "module" not in self._modules:
            kind, remedy = type(self).__name__, "write Model(module), or forward in the subclass"
            expected = "a forward method or a module"
            raise NotImplementedError(f"{kind}: expected {expected}, got neither; {remedy}")
        return self.module(*x, **named)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss, and the metrics, whose weight is 0; a subclass may have its own."""
        config = self.compile_config("losses")
        if config.loss is None:
            return super().losses(batch)
        if self.training:
            config.check_targets(batch.y)
        dtype = config.descent.mixed_precision
        x = batch.x if isinstance(batch.x, Tensor) else first(batch.x)
        with nullcontext() if dtype is None else torch.autocast(x.device.type, dtype):
            prediction = call(self, batch.x)
        losses = config.loss.terms(prediction, batch.y, batch.weight)
        if config.penalised and self.training:  # no part of val_loss
            losses[REGULARIZATION] = sum(layer.penalty() for layer in config.penalised)
        for metric in config.metrics:
            losses[metric.name] = metric(detached(prediction), batch.y)
        return losses

    def metric(self, name: str, mean: Sequence[float]) -> float:
        """A metric from the mean of its moments over a pass."""
        for metric in self.compile_config("losses").metrics:
            if metric.name == name and metric.value is not None:
                return metric.value(mean)
        return super().metric(name, mean)

    def quantities(self) -> list[str] | None:
        """Names of the curves of a pass; None where they are known after its first step."""
        return self.compile_config("fit").quantities()

    def build(self, x: Any) -> None:
        """Makes weights whose shapes depend on the samples, [N, ...], as torch's lazy layers do."""
        with evaluation_mode(self):
            call(self, each(lambda part: part[:1], x))

    def compile(
        self,
        optimizer: Optimizer | Mapping[str, Optimizer],
        loss: str | LossFunction | Mapping[str, Any] | Sequence[Any] | None = None,
        metrics: Sequence[Any] | Mapping[Any, Any] = (),
        *,
        loss_weights: Mapping[str, float] | Sequence[float] | None = None,
        mixed_precision: torch.dtype | None = None,
        clip_norm: float | None = None,
        accumulation_steps: int = 1,
    ) -> None:
        """Says how to train; warns where last layer, activation and loss do not fit.

        Args:
            optimizer: one of Keras's names, with Keras's defaults; a torch optimiser of the
                model's parameters; or what makes one: ``partial(torch.optim.Adam, lr=1e-2)``. For a
                model whose ``training_step`` has several, a dict by the submodules they train.
            loss: one of Keras's names, or a function or module of (prediction, y), as torch's; a
                dict or list of these for several outputs, of which the curves are called
                "a_loss", "a_mae", "output_0_loss"; None where the model has its own.
            metrics: names, those of losses included, or functions of (prediction, y); for several
                outputs a dict or list, as loss is, of these or of lists of these.
            loss_weights: factors on the losses of several outputs, a dict or list, as loss is.
            mixed_precision: torch.bfloat16 or torch.float16 for products under torch.autocast.
            clip_norm: largest norm of the gradient, > 0.
            accumulation_steps: parts that each batch is cut into: the same update from less memory,
                if the loss is a mean over the samples, as all are that have a name. One of torch
                that is none is refused, also where several processes share the batches; what a
                function of your own returns is taken for a mean.

        Raises:
            ValueError: an unknown name or a number out of its range.
            TypeError: neither name nor function.
        """
        if isinstance(metrics, str) or callable(metrics):
            metrics = [metrics]
        own_losses = type(self).losses is not Model.losses
        given = bool(metrics) or loss_weights is not None
        good = (loss is None) == own_losses and not (own_losses and given)
        expected = "none, nor metrics, as the model has losses of its own" if own_losses else "one"
        remedy = "write 'mean_squared_error', or losses in a subclass, but not both"
        check(good, "compile: loss", expected, f"{loss!r} and {list(metrics)}", remedy)
        to_minimise = None if loss is None else loss_of(loss, loss_weights)
        measured = [] if to_minimise is None else metrics_of(metrics, to_minimise)
        check_names(measured, [] if to_minimise is None else to_minimise.curves)
        descent = Descent(optimizer, None, 1, mixed_precision, clip_norm, accumulation_steps)
        config = CompileConfig(descent, to_minimise, measured)
        if self._has_weights() or not config.can_wait:
            apply_trainable(self)
            config.make_optimizer(self)
        self._compile_config = config
        if to_minimise is None:
            return
        self.term_weights = dict.fromkeys((config.quantities() or [])[1:], 0.0)
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
        verbose: int | str = BAR,
        callbacks: Sequence[Callback] = (),
        validation_split: float | None = None,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
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
            epochs: passes through the data, in total with those before a resumption and those
                below ``initial_epoch``.
            verbose: 0 for nothing, 1 or "auto" for a bar, 2 for a line an epoch.
            callbacks: see ``pyneural.training.callbacks``.
            validation_split: share of the samples, from the end, that is measured and not trained
                on; in (0, 1).
            validation_data: (x, y), (x, y, weight) or a DataLoader that is measured instead.
            shuffle: whether each epoch has an order of its own; torch.manual_seed determines it.
            class_weight: factor on the loss by number of the class.
            sample_weight: factor on the loss of each sample, [N], or of each step, [N, T].
            steps_per_epoch: batches an epoch where x is a generator (or a DataLoader without a
                length) of (x, y) or (x, y, weight).
            validation_steps: likewise, where validation_data is one.
            initial_epoch: number of the first epoch: to go on counting, where ``fit`` was called
                before, write that call's ``epochs``.
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
        check_count("fit: batch_size", batch_size, 32)
        batch_size, epochs, verbose = int(batch_size), int(epochs), checked_verbose("fit", verbose)
        good = is_whole(initial_epoch) and 0 <= initial_epoch < epochs
        expected, remedy = f"a number from 0 to {epochs - 1}, below epochs", "write 0"
        check(good, "fit: initial_epoch", expected, initial_epoch, remedy)
        check_callbacks("fit", callbacks)
        good, remedy = checkpoint is not None or not resume, "give checkpoint=PATH"
        check(good, "fit: resume", "a checkpoint to go on from", "none", remedy)
        good = not validation_split or validation_data is None
        expected = "one of validation_split and validation_data"
        check(good, "fit: validation_split", expected, "both", "leave one out")
        loss = compile_config.loss
        data: tuple[Any, ...] = (x, with_outputs(loss, y), sample_weight)
        validation = as_triple(validation_data, alone=loss is None)
        if validation_split:
            data, validation = split_off("fit", data, validation_split)
        data = (as_stream("fit: steps_per_epoch", data[0], steps_per_epoch), *data[1:])
        self.feature_names = columns_of(data[0])
        self._build_for("fit", data[0])
        process_group = ProcessGroup.join(self)
        if process_group.size > 1:
            compile_config.divide("fit: processes")
        apply_trainable(self)
        compile_config.make_optimizer(self)
        compile_config.check_optimizer(self)
        adapter = DataAdapter("fit", self, loss, batch_size, process_group)
        # Drawn whether it is used or not, so that shuffling changes no other random number.
        seed = process_group.from_first(int(torch.randint(2**62, ())), adapter.device)
        order = seed if shuffle else None
        options: dict[str, Any] = {"seed": order, "steps": steps_per_epoch}
        batches = adapter.batches(data, class_weight=class_weight, **options)
        held_out = None
        if validation is not None:
            options = {"name": "validation_data: ", "steps": validation_steps}
            held_out = adapter.batches(validation, **options)
        beside = [*callbacks, TimeLimit(time_limit), EpochProgress(verbose, time_limit)]
        phases = [replace(compile_config.descent, epochs=epochs - int(initial_epoch))]
        begin = int(initial_epoch)
        run = Run(self, phases, batches, beside, held_out, process_group, initial_epoch=begin)
        if checkpoint is not None:
            saved = Checkpoint(checkpoint, every, each_epoch=True)
            run.callbacks.append(saved)
            if resume and saved.exists():
                saved.load(run, "fit")
        with readable("fit"):
            run()
        return run.history

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        verbose: int | str = SILENT,
        sample_weight: Any = None,
        return_dict: bool = False,
        steps: int | None = None,
    ) -> Any:
        """Means of loss and metrics over data, in evaluation mode; arguments as in ``fit``.

        ``steps`` is the number of batches where x is a generator, or a DataLoader without a length;
        None for all that it gives. Under ``torchrun`` each process goes through those of its own.

        Returns:
            the loss, or with metrics a list that begins with it; by name with ``return_dict``.
        """
        compile_config = self.compile_config("evaluate")
        verbose = checked_verbose("evaluate", verbose)
        x = as_stream("evaluate: steps", x, steps)
        self._build_for("evaluate", x)
        adapter = DataAdapter("evaluate", self, compile_config.loss, batch_size)
        batches = adapter.batches((x, y, sample_weight), steps=steps)
        bar = Bar(len(batches) or None, verbose)
        with readable("evaluate"), evaluation_mode(self):
            means = evaluate(self, batches, show=partial(bar.over, "evaluate"))
        if return_dict:
            return means
        return list(means.values()) if len(means) > 1 else means["loss"]

    def predict(
        self,
        x: Any,
        batch_size: int = 32,
        verbose: int | str = SILENT,
        steps: int | None = None,
    ) -> Any:
        """Outputs in evaluation mode, [N, ...]; arguments as in ``evaluate``.

        A DataLoader or generator gives x, or (x, ...), of which the rest is not used.

        Returns:
            a tensor for tensors on their device, else an array.
        """
        verbose = checked_verbose("predict", verbose)
        x = as_stream("predict: steps", x, steps)
        self._build_for("predict", x)
        with readable("predict"), evaluation_mode(self):
            return predict_batches(self, x, batch_size, verbose, steps)

    def count(self) -> ParameterCount:
        """The parameters, a layer a row; ValueError before the weights are made."""
        got = "some that wait for their input's shape"
        remedy = "give the first layer an input_shape, or call fit"
        check(self._has_weights(), "summary", "built layers", got, remedy)
        apply_trainable(self)
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
        return self.compile_config("optimizer").optimizer

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
        if isinstance(x, (DataLoader, Stream)):
            batch = x.first() if isinstance(x, Stream) else first_batch(where, x)
            if batch is None:
                return  # an empty one, which is refused where it is looked at
            x = samples_of(batch)
        one = each(lambda part: rows(part, 0, 1), x) if several(x) else rows(x, 0, 1)
        if len(first(one) if several(one) else one):  # else it is refused where it is looked at
            self.build(DataAdapter(where, self, None, 1).inputs(one))
