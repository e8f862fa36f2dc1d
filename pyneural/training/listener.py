"""The moments of a run at which something beside it may happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from pyneural.training.data.batches import Batch
from pyneural.training.state.stateful import Stateful

NEVER = float("inf")


class StepLosses(NamedTuple):
    """What a step gave: unweighted terms, and seconds and evaluations since the start."""

    values: list[float]
    seconds: float
    evaluations: int


class Listener(Stateful):
    """Does nothing at each moment of a run; subclasses override what they need.

    Hooks of a step cost nothing unless they are overridden. ``due`` is a time, on the clock of
    ``time.perf_counter``, after which ``on_due`` is called. What a resumed run needs is in
    ``state_attributes``, which are loaded after ``on_phase_begin``.
    """

    in_checkpoint = True  # whether a resumed run must have it, too, with its state
    inside_steps = False  # whether on_due is also called between the evaluations of one step
    due = NEVER

    def attach(self, run: Any) -> None:
        """Makes the run known, before everything else."""

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


def hooks(listeners: Sequence[Listener], name: str) -> list[Callable[..., None]]:
    """The hooks of that name that are overridden; the others need not be called."""
    own = [x for x in listeners if getattr(type(x), name) is not getattr(Listener, name)]
    return [getattr(listener, name) for listener in own]
