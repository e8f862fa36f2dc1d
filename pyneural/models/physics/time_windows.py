"""A long time solved in windows, one PINN after the other."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyneural.models.physics.pinn import PINN
from pyneural.models.physics.prediction import Expression
from pyneural.models.physics.reference import relative_l2
from pyneural.pde import Box, Domain
from pyneural.pde.coordinates import TIME, columns_by_name
from pyneural.pde.domains.algebra import Shape
from pyneural.training import CheckpointError, Phase, TrainingReport
from pyneural.training.checks import check
from pyneural.training.data.adapter import of_arrays
from pyneural.training.distributed import ProcessGroup
from pyneural.training.run import INTERRUPTED, TIME_LIMIT
from pyneural.training.state.file import previous_path

Start = float | Tensor | Callable[..., Tensor]


class TimeWindows:
    """The solution of an evolution by a PINN for each part of the time, one after the other.

    The state at the end of a window is the initial condition of the next one, whose network begins
    with the weights of the last, so that it repeats what the solution did there. Chaotic and stiff
    problems are so solved for times that one network cannot be trained for; see also
    ``pde.Causal``. Errors add up from window to window.

    ``make(domain, start)`` gives the PINN of a window: ``domain`` has its first and last time, and
    ``start`` is the state at the first. That is a function of coordinates, for a soft condition,
    ``pde.Initial(domain, start, 100)``, or one that is built in, with A constant in time:

        pde.Hard(network, domain.names, start, lambda t: t - float(domain.low[0]))

    Such a lift is computed by all networks before, without gradients, so that many windows of this
    kind cost more from one to the next.

    Args:
        make: see above; the same network each time.
        domain: in space; None for an ordinary differential equation.
        times: first and last times of the windows, t_0 < t_1 < ...; t is the first coordinate.
        start: the state at t_0, as ``pde.Initial`` takes it.

    Raises:
        ValueError: times that do not increase, or a domain with a time.

    >>> from pyneural import nn, pde
    >>> from pyneural.training import LBFGS
    >>> class Decay(pde.Equation):
    ...     inputs, outputs = "t", "u"
    ...     def residual(self, u):
    ...         return u.t + u
    >>> def make(domain, start):
    ...     network = nn.MLP(1, [8], 1, input_range=domain.range).double()
    ...     t_0 = float(domain.low[0])
    ...     u = pde.Hard(network, "t", start, lambda t: t - t_0)
    ...     return PINN(u, {}, equation=Decay(), domain=domain, points=30)
    >>> _ = torch.manual_seed(0)
    >>> march = TimeWindows(make, None, [0, 1, 2, 3], start=1.0)
    >>> reports = march.fit(LBFGS(50), progress=False)
    >>> t = torch.linspace(0, 3, 50, dtype=torch.float64)[:, None]
    >>> len(march.windows), march.relative_l2(t, torch.exp(-t)) < 1e-4
    (3, True)
    """

    def __init__(
        self,
        make: Callable[[Domain, Any], PINN],
        domain: Shape | None,
        times: Sequence[float],
        start: Start,
    ) -> None:
        self.times = [float(time) for time in times]
        pairs = list(zip(self.times, self.times[1:], strict=False))
        good = bool(pairs) and all(a < b for a, b in pairs)
        check(good, "TimeWindows: times", "two or more that increase", list(times), "sort them")
        self.domains = [
            Box(t=pair) if domain is None else domain.with_time(*pair) for pair in pairs
        ]
        self.make, self.start = make, start
        self.windows: list[PINN] = []  # trained ones, and that in training

    def fit(
        self,
        phases: Phase | Sequence[Phase] | None = None,
        *,
        reference: tuple[Tensor, Tensor] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        time_limit: float | None = None,
        progress: bool = True,
        **options: Any,
    ) -> list[TrainingReport]:
        """Trains the windows from the first on, each through the phases; see ``PINN.fit``.

        Args:
            phases: of each window; None for those of ``default_phases``, as for ``PINN.fit``.
            reference: points [N, D] and the solution there [N, O]; each window is measured with
                those in its time.
            checkpoint: name of the files, as ``run.safetensors``; window 1 has
                ``run.1.safetensors``.
            resume: whether to go on in the last window that has a file, bit by bit.
            time_limit: seconds of training after which to stop, in all windows together; on a
                resumption those of windows that were done do not count.
            progress: whether to name the windows and to show bars, on stderr.
            options: others of ``PINN.fit``, for each window.

        Returns:
            a report for each window that was trained now; after Ctrl-C or the time limit the last
            one says so, and no other window is begun.
        """
        self.windows, reports, left = [], list[TrainingReport](), time_limit
        if not resume:
            self._forget_files(checkpoint)
        for number in range(len(self.domains)):
            window = self._begin(number)
            path, after = self._file(checkpoint, number), self._file(checkpoint, number + 1)
            if resume and after is not None and _exists(after):
                _take_over(window, path)
                continue
            if progress and ProcessGroup.join(window).writes:
                first, last = self.times[number : number + 2]
                of = f"window {number + 1} of {len(self.domains)}"
                print(f"{of}: t = {first:g} to {last:g}", file=sys.stderr)
            given = dict(options, progress=progress, time_limit=left)
            given["reference"] = _within(reference, window.domain)
            if path is not None:
                given |= {"checkpoint": path, "resume": resume}
            reports.append(window.fit(phases, **given))
            if reports[-1].reason in (INTERRUPTED, TIME_LIMIT):
                break
            left = None if left is None else max(left - reports[-1].seconds, 0.0)
        return reports

    def predict(self, x: Any, *expressions: Expression) -> Any:
        """Values, or expressions as of ``PINN.predict``, at points [N, D] in the time of windows.

        At a time between two windows the first of them is asked.

        Raises:
            ValueError: nothing trained yet, or a point at a time before or after the windows.
        """
        where = "TimeWindows.predict"
        check(bool(self.windows), where, "trained windows", "none", "call fit first")
        points = columns_by_name(f"{where}: x", x, self.domains[0].names)
        with torch.no_grad():
            return of_arrays(where, self.windows[0], partial(self._predict, expressions), points)

    def relative_l2(self, x: Any, exact: Any) -> float:
        """Relative error |u(x) - exact|_2 / |exact|_2; see ``PINN.relative_l2``."""
        return relative_l2(torch.as_tensor(self.predict(x)), torch.as_tensor(exact))

    def __repr__(self) -> str:
        trained = f"{len(self.windows)} of {len(self.domains)} begun"
        return f"TimeWindows({self.domains[0]} to t={self.times[-1]:g}, {trained})"

    def _begin(self, number: int) -> PINN:
        """The PINN of a window, with the weights of the last one."""
        before = self.windows[-1] if self.windows else None
        start = self.start if before is None else State(before, self.times[number])
        window = self.make(self.domains[number], start)
        got = type(window).__name__
        check(isinstance(window, PINN), "TimeWindows: make", "a PINN", got, "return it", TypeError)
        if before is not None:
            # The range of the inputs is the window's own: its network then begins with the course
            # that the solution took in the window before.
            state = window.network.state_dict()
            ranges = ("input_low", "input_high")
            own = {name: v.clone() for name, v in state.items() if name.endswith(ranges)}
            window.warm_start(before)
            window.network.load_state_dict(own, strict=False)
        self.windows.append(window)
        return window

    def _file(self, checkpoint: str | os.PathLike[str] | None, number: int) -> Path | None:
        if checkpoint is None or number == len(self.domains):
            return None
        path = Path(checkpoint)
        return path.with_name(f"{path.stem}.{number + 1}{path.suffix}")

    def _forget_files(self, checkpoint: str | os.PathLike[str] | None) -> None:
        """Removes those of a training before, which a resumption would take for done windows."""
        for number in range(len(self.domains)):
            path = self._file(checkpoint, number)
            if path is not None:
                path.unlink(missing_ok=True)
                previous_path(path).unlink(missing_ok=True)

    def _predict(self, expressions: Sequence[Expression], x: Tensor) -> Tensor:
        time, ends = x[:, 0].contiguous(), x.new_tensor(self.times[: len(self.windows) + 1])
        outside = int(((time < ends[0]) | (time > ends[-1])).sum())
        expected = f"times {self.times[0]:g} to {self.times[len(self.windows)]:g}"
        check(not outside, "TimeWindows.predict: x", expected, f"{outside} others", "fit them too")
        which = torch.bucketize(time, ends[1:-1])
        found: Tensor | None = None
        for number in which.unique().tolist():
            rows = which == number
            values = self.windows[number].predict(x[rows], *expressions)
            found = values.new_empty(len(x), values.shape[1]) if found is None else found
            found[rows] = values
        return torch.empty(0, 1).to(x) if found is None else found


class State:
    """The state at one time of a trained PINN, as a function of coordinates by name.

    It has weights of its own, which nothing trains, and derivatives in the other coordinates.

    Args:
        pinn: trained, with t as one of its coordinates.
        time: at which it is asked, whatever t is.
    """

    def __init__(self, pinn: PINN, time: float) -> None:
        self.network = copy.deepcopy(pinn.network).requires_grad_(False).eval()
        self.names, self.time = pinn.domain.names, time

    def __call__(self, **x: Tensor) -> Tensor:
        """Coordinates, [N] each, to [N, O]."""
        columns = [0 * x[n] + self.time if n == TIME else x[n] for n in self.names]
        points, like = torch.stack(columns, -1), next(self.network.parameters())
        return self.network(points if points.dtype == like.dtype else points.to(like.dtype))

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self  # nothing changes it


def _within(
    reference: tuple[Tensor, Tensor] | None, domain: Domain
) -> tuple[Tensor, Tensor] | None:
    """The rows of a reference that are in the time of a domain; None where there are none."""
    if reference is None:
        return None
    points, values = reference
    rows = (points[:, 0] >= float(domain.low[0])) & (points[:, 0] <= float(domain.high[0]))
    return (points[rows], values[rows]) if bool(rows.any()) else None


def _exists(path: Path) -> bool:
    return path.exists() or previous_path(path).exists()


def _take_over(window: PINN, path: Path | None) -> None:
    """What a window that is done had learned."""
    learned = {name.split(".")[0] for name, p in window.named_parameters() if p.requires_grad}
    parts = [name for name in ("network", "equation", "conditions") if name in learned]
    if path is None or not path.exists():
        expected, remedy = f"the file {path} of a window before", "start without resuming"
        raise CheckpointError(f"TimeWindows.fit: resume: expected {expected}, got none; {remedy}")
    window.warm_start(path, parts)
