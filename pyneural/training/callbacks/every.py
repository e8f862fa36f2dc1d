"""Functions of a training's moments, a time limit, weights and points that change."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pyneural.training.callback import NEVER, Callback
from pyneural.training.checks import check, check_count
from pyneural.training.run import TIME_LIMIT, Run


class Every(Callback):
    """Calls a function after every n steps or epochs.

    Args:
        n: how many, >= 1.
        function: of the run; what it returns is not used.
        unit: "step" or "epoch".

    >>> from pyneural.training import Model
    >>> import torch
    >>> model, seen = Model(torch.nn.Linear(1, 1)), []
    >>> model.compile("sgd", "mse")
    >>> x = torch.ones(8, 1)
    >>> report = Every(2, lambda run: seen.append((run.epoch, run.step)))
    >>> _ = model.fit(x, x, batch_size=2, epochs=2, verbose=0, callbacks=[report])
    >>> seen
    [(0, 2), (0, 4), (1, 2), (1, 4)]
    """

    def __init__(self, n: int, function: Callable[[Run], Any], unit: str = "step") -> None:
        kind = type(self).__name__
        check_count(f"{kind}: n", n, 100)
        good = unit in ("step", "epoch")
        check(good, f"{kind}: unit", "'step' or 'epoch'", repr(unit), "write one")
        self.n, self.function, self.unit = n, function, unit

    def on_train_batch_end(self) -> None:
        """Calls it, if the number of steps is a multiple of n."""
        if self.unit == "step" and self.run.steps % self.n == 0:
            self.function(self.run)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Calls it, if the number of epochs is a multiple of n."""
        if self.unit == "epoch" and (epoch + 1) % self.n == 0:
            self.function(self.run)


class Resample(Every):
    """Draws new collocation points, by ``resample`` of a PINN, after every n steps or epochs.

    Args:
        n, unit: as those of ``Every``.
        adaptive: whether they are drawn where the residual is large, else by the sampling of the
            model; see also ``AdaptivePoints``.
    """

    def __init__(self, n: int, adaptive: bool = False, unit: str = "step") -> None:
        super().__init__(n, self._resample, unit)
        self.adaptive = adaptive

    def _resample(self, run: Run) -> None:
        self.draw(run)
        run.objective_changed()

    def draw(self, run: Run, **options: Any) -> None:
        """Draws the points, the same ones in all processes, with further options of the model."""
        model: Any = run.model
        model.resample(self.adaptive, **options)
        if self.adaptive:
            model.share_points(run.process_group)


class LossWeights(Every):
    """Changes the weights of the terms of the loss.

    Args:
        schedule: gives new weights for the run, those that it leaves out stay, as
            ``lambda run: {"kl": min(1.0, run.steps / 1000)}``; other names are a ValueError.
        n, unit: after how many steps or epochs it is asked; before the first of them, too.
    """

    def __init__(
        self, schedule: Callable[[Run], Mapping[str, float]], n: int = 1, unit: str = "step"
    ) -> None:
        super().__init__(n, self._change, unit)
        self.schedule = schedule

    def on_train_begin(self) -> None:
        """Sets the first weights."""
        self._change(self.run)

    def state_dict(self) -> dict[str, Any]:
        """The weights as they are, but for parameters, which are in the state of the model."""
        weights = self.run.model.term_weights
        return {"weights": {n: w for n, w in weights.items() if not isinstance(w, Tensor)}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.run.model.term_weights.update(state["weights"])

    def _change(self, run: Run) -> None:
        weights = run.model.term_weights
        new = {name: float(value) for name, value in self.schedule(run).items()}
        if any(weights.get(name, 1.0) != value for name, value in new.items()):
            weights.update(new)
            run.objective_changed()


class TimeLimit(Callback):
    """Pauses a training after some seconds, those before a resumption included; None for no limit.

    It is asked after each step, so that one step is made in any case.
    """

    in_checkpoint = False

    def __init__(self, seconds: float | None) -> None:
        self.seconds = NEVER if seconds is None else seconds
        check(self.seconds >= 0, "TimeLimit: seconds", "a number >= 0", seconds)

    def on_train_begin(self) -> None:
        """Sets the time."""
        self.due = self.run.origin + self.seconds

    def on_due(self) -> None:
        """Pauses."""
        self.due = NEVER
        self.run.pause(TIME_LIMIT)
