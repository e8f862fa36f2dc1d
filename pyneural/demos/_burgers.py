"""Shared by the two Burgers demos: options, network, training, error and figure."""

from __future__ import annotations

import argparse

import torch

from pyneural import plots
from pyneural.demos import _options
from pyneural.demos._options import counted, print_row, whole
from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Burgers
from pyneural.training import Phase, Trainer, TrainingReport

LAYERS, WIDTH, ACTIVATION = 8, 20, "tanh"
SLICES = (0.25, 0.5, 0.75)
PICTURE = ((0, 1, 201), (-1, 1, 513))  # lower and upper end and number of points of t and of x
OPTIONS = _options.TRAINING | {
    "--epochs": whole("steps of Adam", 1000),
    "--conditions": whole("points with data", 100, low=2),
}


def make_pinn(args: argparse.Namespace, *, points: int = 0, data_weight: float = 1.0) -> PINN:
    """Burgers' equation with a network of 8 layers of 20; with points=0 the conditions alone."""
    device, dtype = _options.checked_device(args.device), _options.DTYPES[args.dtype]
    burgers = Burgers()
    generator = torch.Generator().manual_seed(args.seed)
    network = MLP(2, [WIDTH] * LAYERS, 1, ACTIVATION, input_range=burgers.domain.range)
    network.to(device, dtype)
    conditions = burgers.conditions(
        args.conditions, sampling="lhs", generator=generator, dtype=dtype, device=device
    )
    return PINN(
        network,
        conditions,
        equation=burgers if points else None,
        domain=burgers.domain,
        points=points,
        sampling="sobol",
        adaptive=True,
        weights=dict.fromkeys(conditions, data_weight),
        generator=generator,
    )


def train(
    pinn: PINN, phases: list[Phase], args: argparse.Namespace, stem: str
) -> tuple[Trainer, TrainingReport]:
    """Prints the set-up, trains, and prints the result of each phase."""
    checkpoint = args.out / f"{stem}.safetensors"
    trainer = Trainer(pinn, phases, checkpoint=checkpoint, time_limit=args.time_limit)
    resumed = trainer.resume() if args.resume else 0
    count = sum(parameter.numel() for parameter in pinn.network.parameters())
    points = [f"{len(part.points):,} {name}" for name, part in pinn.named_conditions()]
    if pinn.equation is not None:
        points.append(f"{len(pinn.collocation):,} collocation")
    place = args.device
    if place == "cpu":
        place += f" with {counted(torch.get_num_threads(), 'thread')}"
    print_row("network", f"{LAYERS} x {WIDTH} {ACTIVATION}, {count:,} parameters")
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
    return trainer, report


def relative_l2(pinn: PINN) -> float:
    """Relative L2 error against Cole-Hopf on the test grid."""
    return pinn.relative_l2(*Burgers().test_grid())


def draw(pinn: PINN, title: str, training: Trainer | None = None) -> object:
    """The figure: field, training points, slices, and the losses or else the error."""
    burgers = Burgers()
    t, x = (torch.linspace(low, high, count, dtype=torch.float64) for low, high, count in PICTURE)
    grid = torch.cartesian_prod(t, x)
    shape = (len(t), len(x))
    history = None if training is None else training.history
    return plots.space_time(
        t,
        x,
        pinn.predict(grid).reshape(shape),
        burgers.exact(grid[:, 0], grid[:, 1]).reshape(shape),
        slices=SLICES,
        points=torch.cat([part.points for _, part in pinn.named_conditions()]),
        collocation=None if pinn.equation is None else pinn.collocation,
        losses=None if history is None else {name: history.terms(name) for name in history.names},
        phases=() if training is None else training.phase_starts(),
        title=title,
    )
