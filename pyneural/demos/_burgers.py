"""Shared by the two Burgers demos: networks, training, error and figure."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _options
from pyneural.demos._options import counted, print_row
from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde.gallery import Burgers
from pyneural.training import Phase, Trainer, TrainingReport
from pyneural.training.callbacks import Callback

LAYERS = 4
SLICES = (0.25, 0.5, 0.75)
PICTURE = ((0, 1, 201), (-1, 1, 513))  # lower and upper end and number of points of t and of x


def exact_start(args: argparse.Namespace, hidden: Sequence[int], points: int) -> PINN:
    """A network that has the start and the period built in, and the equation at points."""
    device, dtype = _options.checked_device(args.device), _options.DTYPES[args.dtype]
    burgers = Burgers()
    layers: Any = burgers.network(hidden)
    network = burgers.hard(layers).to(device, dtype)
    generator = torch.Generator().manual_seed(args.seed)
    return PINN(
        network, {}, equation=burgers, points=points, sampling="sobol", adaptive=True,
        generator=generator,
    )  # fmt: skip


def boundary_only(args: argparse.Namespace) -> PINN:
    """A network of 8 layers of 20, and points of the initial and boundary lines."""
    device, dtype = _options.checked_device(args.device), _options.DTYPES[args.dtype]
    burgers = Burgers()
    generator = torch.Generator().manual_seed(args.seed)
    network = MLP(2, [20] * 8, 1, "tanh", input_range=burgers.domain.range).to(device, dtype)
    conditions = burgers.conditions(
        args.conditions, sampling="lhs", generator=generator, dtype=dtype, device=device
    )
    return PINN(network, conditions, domain=burgers.domain, generator=generator)


class Errors(Callback):
    """The relative L2 error after each epoch at points [N, 2], against the seconds of training."""

    state_attributes = ("seconds", "values")

    def __init__(self, points: Tensor, exact: Tensor) -> None:
        self.seconds: list[float] = []
        self.values: list[float] = []
        self._grid = points, exact

    @property
    def curve(self) -> tuple[list[float], list[float]]:
        """Seconds and errors."""
        return self.seconds, self.values

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Measures it."""
        self.seconds.append(self.run.seconds)
        self.values.append(self.run.model.relative_l2(*self._grid))
        logs["error"] = self.values[-1]


def train(
    pinn: PINN, phases: list[Phase], args: argparse.Namespace, stem: str, **options: Any
) -> TrainingReport:
    """Prints the set-up, trains, and prints the result of each phase."""
    checkpoint = args.out / f"{stem}.safetensors"
    trainer = Trainer(pinn, phases, checkpoint=checkpoint, time_limit=args.time_limit, **options)
    resumed = trainer.resume() if args.resume else 0
    widths = [m.out_features for m in pinn.network.modules() if isinstance(m, torch.nn.Linear)]
    count = sum(parameter.numel() for parameter in pinn.network.parameters())
    points = [f"{len(part.points):,} {name}" for name, part in pinn.named_conditions()]
    if pinn.equation is not None:
        points.append(f"{len(pinn.collocation):,} collocation")
    place = args.device
    if place == "cpu":
        place += f" with {counted(torch.get_num_threads(), 'thread')}"
    print_row("network", f"{len(widths) - 1} x {widths[0]} tanh, {count:,} parameters")
    print_row("points", ", ".join(points))
    print_row("computing", f"{args.dtype} on {place}, seed {args.seed}")
    if resumed:
        print_row("resumed", f"after {counted(resumed, 'step')}")
    print()
    report = trainer.fit()
    for phase in report.phases:
        print_row(
            phase.name,
            f"{phase.steps:>6,} steps {phase.seconds:>7.1f} s   "
            f"loss {phase.loss:.2e}   {phase.reason}",
        )
    print()
    if report.interrupted:
        print_row("interrupted", f"--resume continues from {trainer.checkpoint}")
    return report


def relative_l2(pinn: PINN) -> float:
    """Relative L2 error against Cole-Hopf on the test grid."""
    return pinn.relative_l2(*Burgers().test_grid())


def draw(
    pinn: PINN,
    title: str,
    errors: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> object:
    """The figure: field, training points, error, slices, and errors against seconds."""
    burgers = Burgers()
    t, x = (torch.linspace(low, high, count, dtype=torch.float64) for low, high, count in PICTURE)
    grid = torch.cartesian_prod(t, x)
    shape = (len(t), len(x))
    parts = [part.points for _, part in pinn.named_conditions()]
    return plots.space_time(
        t,
        x,
        pinn.predict(grid).reshape(shape),
        burgers.exact(grid[:, 0], grid[:, 1]).reshape(shape),
        slices=SLICES,
        points=torch.cat(parts) if parts else None,
        collocation=None if pinn.equation is None else pinn.collocation,
        errors=errors,
        title=title,
    )
