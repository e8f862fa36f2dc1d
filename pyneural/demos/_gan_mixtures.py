"""Mixtures of Gaussians in the plane, learnt by adversarial networks."""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.data import toys
from pyneural.demos import _fit
from pyneural.demos._gan import Recipe, adam, shown_steps, train
from pyneural.demos._options import counted, print_row
from pyneural.metrics import mode_coverage
from pyneural.models import GAN, MLPDiscriminator, MLPGenerator, saturation
from pyneural.training.callbacks import Every
from pyneural.training.run import Run

BATCHES, MEASURED, SHOWN = 50, 10_000, 2_000  # in an epoch; samples that are measured and shown
LATENT = 2  # components of the noise
ALONE = 8  # epochs in which the discriminator alone is trained
# What follows on that: the generator then has steps along its gradient, whose size counts, while
# Adam divides it by its own; it is cut where it is above 1.
AFTERWARDS, CLIP_NORM = Recipe(24, 256, (5e-3, 1e-3), weight=0.0), 1.0


@dataclass(frozen=True)
class Mixture:
    """A mixture, the networks for it, and how they are trained."""

    title: str
    toy: toys.EightGaussians | toys.GaussianGrid
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    recipe: Recipe

    def model(self, **options: Any) -> GAN:
        """New networks."""
        generator = MLPGenerator(LATENT, 2, self.generator)
        return GAN(generator, MLPDiscriminator(2, self.discriminator), **options)


MIXTURES = {
    "ring": Mixture(
        "ring of 8 Gaussians", toys.EightGaussians(2.0, 0.02), (64, 64, 64), (128, 128),
        Recipe(epochs=70, batch=256, rates=(2e-3, 2e-3), weight=0.01),
    ),
    "grid": Mixture(
        "grid of 25 Gaussians", toys.GaussianGrid(), (128, 128, 128), (128, 128),
        Recipe(epochs=100, batch=256, rates=(1e-3, 1e-3), weight=0.1),
    ),
}  # fmt: skip


@dataclass
class Training:
    """What was seen of a training, and what its samples are worth."""

    name: str
    steps: list[int] = field(default_factory=list)
    samples: list[Tensor] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    modes: int = 0
    share: float = 0.0
    smallest: float = 0.0  # share of the samples in the mode that has the fewest, times the modes
    seconds: float = 0.0
    stopped: str | None = None

    def row(self, title: str, modes: int) -> plots.SamplesOverTime:
        """A row of the figure."""
        found = f"{self.modes} of {modes} modes, {100 * self.share:.0f} % within $3\\sigma$"
        return plots.SamplesOverTime(f"{title}: {found}", self.steps, self.samples)


def run(args: argparse.Namespace) -> object:
    """Trains with the recipe, then with both losses against a sure discriminator."""
    mixture = MIXTURES[args.data]
    recipe, toy, modes = mixture.recipe.lasting(args.epochs), mixture.toy, len(mixture.toy.centres)
    print(f"Adversarial networks on a {mixture.title}\n")
    count = BATCHES * recipe.batch
    print_row("samples", f"{count:,} for training, width {toy.noise:g} of each mode")
    widths = ["-".join(map(str, w)) for w in (mixture.generator, mixture.discriminator)]
    print_row("networks", f"{widths[0]} and {widths[1]} hidden units, {LATENT} of noise")
    print_row("training", f"{counted(recipe.epochs, 'epoch')} of {BATCHES} steps of Adam, R1, "
              "average of the generator")  # fmt: skip
    columns = "modes", "within 3 sigma", "smallest", "D(x)", "D(G(z))", "time"
    print("\n  {:<16}{:>9}{:>16}{:>10}{:>7}{:>9}{:>9}".format("", *columns))
    best = by_recipe(mixture, recipe, args.seed)
    _print_training(best, modes)
    share = mode_coverage(toy.sample(MEASURED, args.seed + 2), toy.centres, toy.noise).share
    print(f"  {'data':<16}{f'{modes} of {modes}':>9}{share:16.3f}\n")
    print_row("saturation", f"{ALONE * BATCHES} steps of the discriminator alone")
    sure, measured = _sure_discriminator(mixture, args.seed)
    last = f"{measured.minimax[-1]:.1g} (minimax), {measured.non_saturating[-1]:.3g} (non-sat.)"
    print_row("gradients", f"of G at D(G(z)) = {measured.d_fake[-1]:.1g}: {last}")
    print_row("then", f"{AFTERWARDS.epochs} epochs at most of both, G with steps of SGD\n")
    rows = [best.row("Non-saturating loss, R1 penalty, Adam", modes)]
    curves = {"recipe": best.curves}
    for loss in ("minimax", "non-saturating"):
        found = _from_sure(mixture, sure, loss, args.seed)
        _print_training(found, modes)
        title = f"{loss.capitalize()} loss against a sure discriminator (SGD, no penalty)"
        rows.append(found.row(title, modes))
    print()
    return plots.adversarial_plane(rows, toy.centres, 3 * toy.noise, measured, curves)


def by_recipe(mixture: Mixture, recipe: Recipe, seed: int) -> Training:
    """The training that is to succeed."""
    torch.manual_seed(seed)
    model = mixture.model(penalty="r1", weight=recipe.weight)
    model.compile({"generator": adam(recipe.rates[0]), "discriminator": adam(recipe.rates[1])})
    return _trained("recipe", model, mixture, recipe, seed)


def _trained(name: str, model: GAN, mixture: Mixture, recipe: Recipe, seed: int) -> Training:
    seen, toy = Training(name), mixture.toy
    x, unit = _data(mixture, seed)
    z = model.noise(SHOWN)

    def look(step: int) -> None:
        seen.steps.append(step)
        with torch.no_grad():
            seen.samples.append(unit * model(z))

    history, seen.seconds = train(name, model, x, recipe, look)
    found = mode_coverage(unit * model.sample(MEASURED), toy.centres, toy.noise)
    seen.curves = {name: history[name] for name in ("d_real", "d_fake")}
    seen.modes, seen.share = found.modes, found.share
    seen.smallest = float(found.weights.min()) * len(toy.centres)
    seen.stopped = history.stopped
    return seen


def _data(mixture: Mixture, seed: int) -> tuple[Tensor, float]:
    """Samples in units of their standard deviation, and that."""
    x = mixture.toy.sample(BATCHES * mixture.recipe.batch, seed + 1)
    unit = float(x.std())
    return x / unit, unit


def _sure_discriminator(mixture: Mixture, seed: int) -> tuple[GAN, plots.Saturations]:
    """A discriminator that is trained alone, and the gradients of the generator meanwhile."""
    torch.manual_seed(seed)
    model, found = mixture.model(), []
    still = partial(torch.optim.SGD, lr=0.0)
    model.compile({"generator": still, "discriminator": adam(2e-3)})

    def look(run: Run) -> None:
        if run.steps in shown_steps(ALONE * BATCHES, 12):
            found.append(saturation(model))

    x, _ = _data(mixture, seed)
    size = len(x) // BATCHES
    _fit.fit(model, "D alone", x, None, Every(1, look), epochs=ALONE, batch_size=size)
    d_fake, minimax, non_saturating = map(list, zip(*found, strict=True))
    return model, plots.Saturations(d_fake, minimax, non_saturating)


def _from_sure(mixture: Mixture, sure: GAN, loss: str, seed: int) -> Training:
    """A training that begins with a discriminator that is sure of all samples."""
    torch.manual_seed(seed)
    model = mixture.model(loss=loss)
    model.load_state_dict(copy.deepcopy(sure.state_dict()))
    steps = partial(torch.optim.SGD, lr=AFTERWARDS.rates[0], momentum=0.5)
    model.compile(
        {"generator": steps, "discriminator": adam(AFTERWARDS.rates[1])}, clip_norm=CLIP_NORM
    )
    return _trained(loss, model, mixture, AFTERWARDS, seed)


def _print_training(found: Training, modes: int) -> None:
    print(
        f"  {found.name:<16}{f'{found.modes} of {modes}':>9}{found.share:16.3f}"
        f"{found.smallest:10.2f}{found.curves['d_real'][-1]:7.2f}"
        f"{found.curves['d_fake'][-1]:9.2g}{found.seconds:7.1f} s",
        flush=True,
    )
    if found.stopped is not None:
        print(f"    {found.stopped}", flush=True)
