"""Theory alone, data alone, or both: a damped pendulum that is measured with noise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyneural.models.physics.pinn import PINN
from pyneural.nn import MLP
from pyneural.ode import odeint
from pyneural.pde import Box, Condition, Data, Equation, Initial
from pyneural.training import LBFGS, Adam, Phase
from pyneural.training.callbacks import Callback
from pyneural.training.checks import check, check_count

_STEPS = 1000  # of the solver, over the duration
_POINTS = 200  # collocation points
_HIDDEN = 24, 24
_PHASES = Adam(200, lr=1e-2), LBFGS(300)
WAYS = ("theory", "data", "both")


@dataclass(frozen=True)
class Pendulum:
    """What is measured: a pendulum with friction that starts at rest.

        q'' + 2 delta q' + omega^2 sin q = 0,   q(0) = start, q'(0) = 0

    Args:
        delta, omega: damping rate and angular frequency of small oscillations, per unit of time.
        start: the first angle, in radians.
        duration: of the measurements.

    >>> pendulum = Pendulum()
    >>> float(pendulum.angle(torch.zeros(1, dtype=torch.float64)))
    1.2
    """

    delta: float = 0.1
    omega: float = 1.0
    start: float = 1.2
    duration: float = 20.0

    @property
    def domain(self) -> Box:
        """The time."""
        return Box(t=(0, self.duration))

    def angle(self, t: Tensor) -> Tensor:
        """The angle at times of any shape in [0, duration], float64, to about 1e-9."""
        good = bool(self.domain.contains(t.reshape(-1, 1)).all())
        t = t.double()
        got = "others" if t.numel() == 0 else f"{float(t.min()):g} to {float(t.max()):g}"
        remedy = "make a Pendulum of a longer duration"
        check(good, "Pendulum.angle: t", f"times in [0, {self.duration:g}]", got, remedy)
        path, step = _path(self), self.duration / _STEPS
        before = (t / step).floor().clamp(0, _STEPS - 1).long()
        s = t / step - before  # in [0, 1]
        (q0, v0), (q1, v1) = path[before].unbind(-1), path[before + 1].unbind(-1)
        # Cubic Hermite interpolation between the steps of the solver.
        return (
            q0
            + s * step * v0
            + s**2 * (3 * (q1 - q0) - step * (2 * v0 + v1))
            + s**3 * (2 * (q0 - q1) + step * (v0 + v1))
        )

    def measure(self, count: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
        """Times [count, 1], uniform at random, and angles [count, 1] with noise in radians."""
        check_count("Pendulum.measure: count", count, 10)
        check(noise >= 0, "Pendulum.measure: noise", "radians >= 0", noise)
        generator = torch.Generator().manual_seed(seed)
        t = self.duration * torch.rand(count, generator=generator, dtype=torch.float64)
        errors = torch.randn(count, generator=generator, dtype=torch.float64)
        return t[:, None], (self.angle(t) + noise * errors)[:, None]


@functools.lru_cache(maxsize=4)
def _path(pendulum: Pendulum) -> Tensor:
    """Angle and its rate after each of the solver's steps, [steps + 1, 2]."""

    def rate(_: Tensor, state: Tensor) -> Tensor:
        q, v = state
        return torch.stack([v, -2 * pendulum.delta * v - pendulum.omega**2 * torch.sin(q)])

    times = torch.linspace(0, pendulum.duration, _STEPS + 1, dtype=torch.float64)
    start = torch.tensor([pendulum.start, 0.0], dtype=torch.float64)
    with torch.no_grad():
        return odeint(rate, start, times, steps=1)


class SmallAngles(Equation):
    """The theory, which is not quite right: a pendulum of small angles.

        u'' + 2 delta u' + omega^2 u = 0

    Args:
        delta, omega: as of ``Pendulum``; ``torch.nn.Parameter`` are learned.
    """

    inputs, outputs = "t", "u"

    def __init__(self, delta: float | nn.Parameter, omega: float | nn.Parameter) -> None:
        super().__init__()
        self.delta, self.omega = delta, omega

    def residual(self, u):
        """The residual u'' + 2 delta u' + omega^2 u."""
        return u.tt + 2 * self.delta * u.t + self.omega**2 * u


def model_pendulum(
    pendulum: Pendulum,
    way: str,
    measured: tuple[Tensor, Tensor] | None = None,
    *,
    theory_weight: float = 1.0,
    seed: int = 0,
    phases: Phase | Sequence[Phase] = _PHASES,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> PINN:
    """A network for the angle of a pendulum, trained in one of three ways.

        theory:  mean_i r(t_i)^2 + (u(0) - start)^2 + u'(0)^2,   delta and omega as they are
        data:    mean_n (u(t_n) - d_n)^2
        both:    all of these, delta and omega of the theory being learned

    with r the residual of ``SmallAngles``, the theory, which holds for small angles only.

    Args:
        pendulum: gives the constants of the theory, and the start.
        way: one of ``WAYS``.
        measured: times [N, 1] and angles [N, 1]; None for theory alone.
        theory_weight: of r in both.
        seed: of network and collocation points.
        phases: of the training.
        callbacks: see ``training.callbacks``.
        progress: whether to show a bar on stderr.

    Raises:
        ValueError: an unknown way, or measurements that are missing, or not used.

    >>> pendulum = Pendulum()
    >>> measured, phases = pendulum.measure(5, 0.1, 0), [Adam(2)]
    >>> pinn = model_pendulum(pendulum, "data", measured, phases=phases, progress=False)
    >>> pinn.predict(torch.zeros(1, 1)).shape
    torch.Size([1, 1])
    """
    where = "model_pendulum"
    check(way in WAYS, f"{where}: way", f"one of {', '.join(WAYS)}", repr(way), "write one")
    good = (measured is None) == (way == "theory")
    expected = f"{'none' if way == 'theory' else 'times and angles'} for {way!r}"
    check(good, f"{where}: measured", expected, "none" if measured is None else "some")
    domain, conditions = pendulum.domain, dict[str, Condition]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP(1, _HIDDEN, 1, "sin", input_range=domain.range).double()
    if measured is not None:
        conditions["data"] = Data(*measured, domain=domain)
    equation, weights = None, dict[str, float]()
    if way != "data":
        start = torch.zeros(1, 1, dtype=torch.float64)
        conditions["start"] = Initial(domain, pendulum.start, start)
        conditions["rest"] = Initial(domain, 0.0, start, order=1)
        constants: list = [pendulum.delta, pendulum.omega]
        if way == "both":
            constants = [nn.Parameter(torch.tensor(c, dtype=torch.float64)) for c in constants]
            weights["residual"] = theory_weight
        equation = SmallAngles(*constants)
    pinn = PINN(
        network, conditions, equation=equation, domain=domain, points=_POINTS,
        generator=torch.Generator().manual_seed(seed), weights=weights,
    )  # fmt: skip
    pinn.fit(phases, callbacks=callbacks, progress=progress)
    return pinn
