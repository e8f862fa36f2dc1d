"""What may happen beside the steps of a training, and at which moments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.training.data.batches import Batch
from pyneural.training.evaluation import StepLosses
from pyneural.training.state.stateful import Stateful

NEVER = float("inf")


class Callback(Stateful):
    """Does nothing at each moment of a training; subclasses override what they need.

    ``self.run`` is the training: its ``model``, ``optimizer``, ``history``, ``phase``, ``epoch``,
    ``step`` (in the epoch), ``steps`` (of all), ``stop(reason)`` and ``pause(reason)``. An epoch is
    a pass through the batches; where each step takes all data, as often for a PINN, it is
    ``steps_per_epoch`` steps. It ends with the phase in any case. A callback that acts on epochs
    counts these, one that acts on steps says so by an argument ``every`` or ``unit``.

    Hooks of a step cost nothing unless they are overridden. ``due`` is a time, on the clock of
    ``time.perf_counter``, after which ``on_due`` is called. What a resumed training needs is in
    ``state_attributes``, which are loaded after ``on_phase_begin``.

    >>> class Count(Callback):
    ...     epochs = 0
    ...
    ...     def on_epoch_end(self, epoch, logs):
    ...         self.epochs += 1
    """

    quantities: tuple[str, ...] = ()  # that pyneural's own add to the logs in on_epoch_end
    in_checkpoint = True  # whether a resumed training must have it, too, with its state
    inside_steps = False  # whether on_due is also called between the evaluations of one step
    due = NEVER
    run: Any  # a Run

    def attach(self, run: Any) -> None:
        """Makes the run known, before everything else."""
        self.run = run

    def on_train_begin(self) -> None:
        """Before the first epoch, or before going on after a resumption."""

    def on_phase_begin(self, index: int) -> None:
        """Before each phase, and where one goes on; its optimisers are new."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before each epoch, counted from 0."""

    def on_gradients(self, batch: Batch, losses: Mapping[str, Tensor]) -> None:
        """After the gradients of a step are known and before the weights change."""

    def on_train_batch_end(self) -> None:
        """After the weights have changed."""

    def on_losses(self, steps: Sequence[StepLosses]) -> None:
        """After the terms of some steps were read from the device."""

    def on_due(self) -> None:
        """After a step that ends later than ``due``; sets that anew."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After each epoch; ``logs`` goes into the history and may be added to."""

    def on_checkpoint(self, final: bool) -> None:
        """After an epoch, at a pause and at the end, when the state of the run is whole."""

    def on_train_end(self) -> None:
        """After the last step, or where the training was stopped; not after an exception."""

    def on_close(self) -> None:
        """At the very end, after an exception too."""


def overridden(callbacks: Sequence[Callback], hook: str) -> list[Callable[..., None]]:
    """The hooks of that name that do something; the others need not be called."""
    nothing = getattr(Callback, hook)
    return [getattr(c, hook) for c in callbacks if getattr(type(c), hook) is not nothing]


def check_callbacks(where: str, callbacks: Sequence[Callback]) -> None:
    """Raises TypeError unless it is a list of callbacks."""
    given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in given:
        if not isinstance(callback, Callback) or given is not callbacks:
            raise TypeError(
                f"{where}: callbacks: expected a list of Callback, got {type(callback).__name__}; "
                "write callbacks=[...], and TorchScheduler(...) around a scheduler of torch"
            )
