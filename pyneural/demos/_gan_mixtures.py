"""Mixtures of Gaussians in the plane, learnt by adversarial networks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from pyneural import plots
from pyneural.data import toys
from pyneural.demos import _fit
from pyneural.demos._gan import Recipe, shown_steps, train
from pyneural.demos._options import counted, print_row
from pyneural.metrics import mode_coverage
from pyneural.models import GAN, MLPDiscriminator, MLPGenerator, saturation
from pyneural.training.callbacks import Every
from pyneural.training.run import Run

BATCHES, MEASURED = 50, 10_000  # in an epoch; samples that are measured
ALONE = 10  # epochs in which the discriminator alone is trained


@dataclass(frozen=True)
class Mixture:
    """A mixture, the networks for it, and how they are trained."""

    title: str
    toy: toys.EightGaussians | toys.GaussianGrid
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    recipe: Recipe
    latent: int = 2

    def model(self, **options: object) -> GAN:
        """New networks."""
        generator = MLPGenerator(self.latent, 2, self.generator)
        discriminator = MLPDiscriminator(2, self.discriminator)
        return GAN(generator, discriminator, **options)  # type: ignore[arg-type]


MIXTURES = {
    "ring": Mixture(
        "ring of 8 Gaussians", toys.EightGaussians(2.0, 0.02), (64, 64, 64), (128, 128),
        Recipe(epochs=60, batch=256, rates=(2e-3, 2e-3), weight=0.02),
    ),
    "grid": Mixture(
        "grid of 25 Gaussians", toys.GaussianGrid(), (128, 128), (128, 128),
        Recipe(epochs=100, batch=256, rates=(2e-3, 2e-3), weight=0.02),
    ),
}  # fmt: skip
LOSSES = {"non-saturating": True, "minimax": False}  # and whether there is a penalty


@dataclass
class Training:
    """What was seen of a training."""

    title: str
    steps: list[int] = field(default_factory=list)
    samples: list[Tensor] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)


def run(args: argparse.Namespace) -> object:
    """Trains with both losses; returns the figure."""
    mixture = MIXTURES[args.data]
    recipe, toy = mixture.recipe.lasting(args.epochs), mixture.toy
    x = toy.sample(BATCHES * recipe.batch, args.seed + 1)
    print(f"Adversarial networks on a {mixture.title}\n")
    print_row("samples", f"{len(x):,} for training, width {toy.noise:g} of each mode")
    widths = ["-".join(map(str, w)) for w in (mixture.generator, mixture.discriminator)]
    print_row("networks", f"{widths[0]} and {widths[1]} hidden units, {mixture.latent} of noise")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of {BATCHES} steps of Adam each")
    columns = "modes", "within 3 sigma", "smallest mode", "D(x)", "D(G(z))", "time"
    print("\n  {:<16}{:>9}{:>16}{:>15}{:>7}{:>9}".format("", *columns))
    trainings = []
    for loss, penalised in LOSSES.items():
        torch.manual_seed(args.seed)
        penalty = {"penalty": "r1", "weight": recipe.weight} if penalised else {}
        model = mixture.model(loss=loss, **penalty)
        trainings.append(_trained(loss, model, mixture, recipe, x))
    share = mode_coverage(toy.sample(MEASURED, args.seed + 2), toy.centres, toy.noise).share
    print(f"  {'data':<16}{len(toy.centres):>9}{share:>16.3f}\n")
    torch.manual_seed(args.seed)
    measured = _saturations(mixture, x)
    rows = [plots.SamplesOverTime(t.title, t.steps, t.samples) for t in trainings]
    curves = dict(zip(LOSSES, (t.curves for t in trainings), strict=True))
    return plots.adversarial_plane(rows, toy.centres, 3 * toy.noise, measured, curves)


def _trained(loss: str, model: GAN, mixture: Mixture, recipe: Recipe, x: Tensor) -> Training:
    seen, toy = Training(loss), mixture.toy
    z = model.noise(2000)

    def look(step: int) -> None:
        seen.steps.append(step)
        with torch.no_grad():
            seen.samples.append(model(z))

    history, seconds = train(loss, model, x, recipe, look)
    found = mode_coverage(model.sample(MEASURED), toy.centres, toy.noise)
    modes = f"{found.modes} of {len(toy.centres)}"
    smallest = float(found.weights.min()) * len(toy.centres)
    seen.curves = {name: history[name] for name in ("d_real", "d_fake")}
    print(
        f"  {loss:<16}{modes:>9}{found.share:>16.3f}{smallest:>15.2f}"
        f"{history['d_real'][-1]:7.2f}{history['d_fake'][-1]:9.2f}{seconds:6.1f} s",
        flush=True,
    )
    with_penalty = "" if model.penalty is None else ", R1 penalty"
    seen.title = f"{loss} loss{with_penalty}: {modes} modes, {100 * found.share:.0f} % within 3 sigma"
    return seen


def _saturations(mixture: Mixture, x: Tensor) -> plots.Saturations:
    """The gradients of an untrained generator while the discriminator alone is trained."""
    model, found = mixture.model(), []
    still = partial(torch.optim.SGD, lr=0.0)
    model.compile({"generator": still, "discriminator": partial(torch.optim.Adam, lr=1e-3)})

    def look(run: Run) -> None:
        if run.steps in shown_steps(ALONE * BATCHES, 12):
            found.append(saturation(model))

    options = {"epochs": ALONE, "batch_size": len(x) // BATCHES}
    _fit.fit(model, "discriminator alone", x, None, Every(1, look), **options)
    last = found[-1]
    print_row("discriminator", f"alone, {ALONE * BATCHES} steps: D(G(z)) = {last.d_fake:.2g}")
    print_row("gradients", f"of G then: minimax {last.minimax:.2g}, "
              f"non-saturating {last.non_saturating:.2g}")  # fmt: skip
    d_fake, minimax, non_saturating = map(list, zip(*found, strict=True))
    return plots.Saturations(d_fake, minimax, non_saturating)
