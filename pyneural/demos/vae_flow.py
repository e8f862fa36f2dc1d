"""A normalizing flow as the prior of a variational autoencoder of digits.

    p(x|z) binomial with 16 trials a pixel,  z of 12 components
    p(z) = N(0, 1), or a neural spline flow that is trained along

All else is the same: 64-256-256-z-256-256-64, silu, AdamW, initial weights.
Trained on the native 8 x 8 images of scikit-learn from three seeds. Prints,
on held-out images, the evidence lower bound (ELBO) and the importance-weighted
bound in nats; KL(q(z)||p(z)), with q(z) the aggregate posterior of the images
in training; and the accuracy of a classifier between held-out images and
samples (C2ST; 0.5 where it cannot tell them apart). Writes vae-flow.png: q(z)
and prior in the plane of the latent space that separates the digits best,
samples of both models, bound and accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _vae
from pyneural.demos._options import option, print_row, whole
from pyneural.metrics import c2st
from pyneural.models import NSF, VariationalAutoencoder, aggregate_posterior

SYSTEMS = ("S24", "S25")
SUMMARY = "A flow as the prior of a VAE of digits."
NEXT = "pyneural demo latent-diffusion: diffusion in the latent space"
QUICK = ("--epochs", "20")
LATENT = 12
TESTED, MEASURED, DRAWN = 360, 1_437, 200_000  # images of C2ST and of q(z), draws of p(z), at most
EPOCHS = {"digits": 60, "mnist": 10}
PRIORS = ("normal", "flow")
OPTIONS = {
    "--data": option(_vae.DATA, "digits", choices=_vae.SETS, metavar="DATA"),
    "--epochs": whole(
        f"passes through the images (default: {EPOCHS['digits']} for digits, "
        f"{EPOCHS['mnist']} for mnist)", None, 1, 10**6,
    ),
}  # fmt: skip


class Found(NamedTuple):
    """Figures of a trained model, on held-out images."""

    elbo: float
    bound: float
    divergence: float
    accuracy: float

    def better_than(self, other: Found) -> list[bool]:
        """Of each figure."""
        higher = [self.elbo > other.elbo, self.bound > other.bound]
        return [*higher, self.divergence < other.divergence, self.accuracy < other.accuracy]


COLUMNS = ("ELBO", f"K = {_vae.BOUND}", "KL(q||p)", "C2ST")
DIGITS = (1, 1, 2, 3)


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    images, epochs = _vae.SETS[args.data](), args.epochs or EPOCHS[args.data]
    print("A normalizing flow as the prior of a variational autoencoder\n")
    _vae.print_settings(images, epochs)
    print(f"\n  {'seed':<6}{'prior':<10}" + "".join(f"{name:>15}" for name in COLUMNS))
    found: dict[str, list[Found]] = {prior: [] for prior in PRIORS}
    curves: dict[str, list[list[float]]] = {prior: [] for prior in PRIORS}
    seconds = dict.fromkeys(PRIORS, 0.0)
    models: dict[str, VariationalAutoencoder] = {}  # of the first seed
    for seed in range(args.seed, args.seed + images.seeds):
        for prior in PRIORS:
            name, module = f"{prior} prior, seed {seed}", _prior(prior, seed)
            model, history, passed = _vae.train(name, images, LATENT, epochs, seed, module)
            seconds[prior] += passed / images.seeds
            found[prior].append(_measured(model, images))
            curves[prior].append(history["val_elbo"])
            models.setdefault(prior, model)
            columns = zip(found[prior][-1], DIGITS, strict=True)
            _print_values(str(seed), prior, (f"{value:.{digits}f}" for value, digits in columns))
    print()
    for prior in PRIORS:
        table = zip(zip(*found[prior], strict=True), DIGITS, strict=True)
        _print_values("mean", prior, (_vae.with_spread(*column) for column in table))
    wins = [flow.better_than(normal) for normal, flow in zip(*found.values(), strict=True)]
    counts = (f"{sum(won)} of {len(won)}" for won in zip(*wins, strict=True))
    _print_values("", "flow won", counts)
    print()
    count = min(TESTED, len(images.held_out))
    real = c2st(*(images.for_classifier(one[:count]) for one in (images.held_out, images.x)))
    print_row("C2ST", f"for comparison {real:.3f} between held-out and training images")
    times = (f"{passed:.1f} s with the {prior} prior" for prior, passed in seconds.items())
    print_row("a training", ", ".join(times))
    accuracies = {prior: [one.accuracy for one in found[prior]] for prior in PRIORS}
    return _figure(images, models, curves, accuracies, real)


def _prior(name: str, seed: int) -> NSF | None:
    torch.manual_seed(seed)
    if name == "normal":
        return None
    return NSF(LATENT, transforms=3, passes=2, hidden_features=[32, 32])


def _measured(model: VariationalAutoencoder, images: _vae.Images) -> Found:
    held_out = images.held_out[:TESTED]
    sampled = images.for_classifier(model.sample(len(held_out)))
    accuracy = c2st(images.for_classifier(held_out), sampled)
    kl = aggregate_posterior(model, images.x[:MEASURED]).kl
    return Found(*_vae.bounds(model, images.held_out), kl, accuracy)


def _print_values(seed: str, prior: str, values: Iterable[str]) -> None:
    print(f"  {seed:<6}{prior:<10}" + "".join(f"{value:>15}" for value in values), flush=True)


@torch.no_grad()
def _figure(
    images: _vae.Images,
    models: dict[str, VariationalAutoencoder],
    curves: dict[str, list[list[float]]],
    accuracies: dict[str, list[float]],
    real: float,
) -> object:
    x, classes = images.x[:MEASURED], images.classes[:MEASURED]
    samples = {
        name: images.unflattened(model.sample(80, mean=True)).unflatten(0, (8, 10))
        for name, model in models.items()
    }
    planes = {}
    for name, model in models.items():
        z, prior = model.encode(x).sample(), model.prior_distribution().sample((DRAWN,))
        axes = _separating_plane(z, classes)
        planes[name] = z @ axes, prior @ axes
    return plots.latent_priors(
        planes, classes, samples, curves, accuracies, real, high=images.levels
    )


def _separating_plane(z: Tensor, classes: Tensor) -> Tensor:
    """Two orthonormal axes, [latent, 2], of the plane of Fisher's linear discriminant analysis."""
    means = torch.stack([z[classes == number].mean(0) for number in range(10)])
    factor = torch.linalg.cholesky((z - means[classes]).T.cov())
    scaled = torch.linalg.solve_triangular(factor, means[classes].T, upper=False)
    directions = torch.linalg.eigh(scaled.cov()).eigenvectors[:, -2:]
    found = torch.linalg.solve_triangular(factor.T, directions, upper=True)
    return torch.linalg.qr(found).Q
