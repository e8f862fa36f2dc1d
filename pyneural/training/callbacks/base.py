"""What a callback may do, and at which moments."""

from __future__ import annotations

from collections.abc import Sequence

from pyneural.training.listener import Listener
from pyneural.training.run import Run


class Callback(Listener):
    """Does nothing at each moment of a training; subclasses override what they need.

    ``self.run`` is the training: its ``model``, ``optimizer``, ``history``, ``phase``, ``epoch``,
    ``step`` (in the epoch), ``steps`` (of all), ``stop(reason)`` and ``pause(reason)``. An epoch is
    a pass through the batches; where each step takes all data, as often for a PINN, it is
    ``steps_per_epoch`` steps. It ends with the phase in any case. A callback that acts on epochs
    counts these, one that acts on steps says so by an argument ``every`` or ``unit``.

    >>> class Count(Callback):
    ...     epochs = 0
    ...
    ...     def on_epoch_end(self, epoch, logs):
    ...         self.epochs += 1
    """

    run: Run

    def attach(self, run: Run) -> None:
        """Makes the run known, before everything else."""
        self.run = run


def check_callbacks(where: str, callbacks: Sequence[Callback]) -> None:
    """Raises TypeError unless it is a list of callbacks."""
    given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in given:
        if not isinstance(callback, Callback) or given is not callbacks:
            raise TypeError(
                f"{where}: callbacks: expected a list of Callback, got {type(callback).__name__}; "
                "write callbacks=[...], and TorchScheduler(...) around a scheduler of torch"
            )
