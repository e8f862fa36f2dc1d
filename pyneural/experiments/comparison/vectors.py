"""The networks for tables: all see the same whitened rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import optim
from pyneural.experiments.comparison.fitting import Fitted, Fitting, parameters_of
from pyneural.experiments.comparison.training import adam
from pyneural.models import (
    DDPM,
    GAN,
    NSF,
    Autoencoder,
    FlowMatching,
    GaussianLikelihood,
    LatentDiffusion,
    MLPDenoiser,
    MLPDiscriminator,
    MLPGenerator,
    RealNVP,
    VariationalAutoencoder,
)

HIDDEN = [128, 128]
_LATENT = 16  # variables at most
STEPS, RUNGE_KUTTA = 200, 20  # of diffusion, and of the flow that is matched
FIRST = 0.4  # share of the budget of the autoencoder
_WARM_UP = 200  # steps
_TRIED, _COARSE = 200, {"rtol": 1e-4, "atol": 1e-4}  # rows of a likelihood by integration
BOUND = 100  # values of z of a bound


def fit_nsf(fitting: Fitting) -> Fitted:
    """A neural spline flow."""
    columns = fitting.train.shape[1]
    return _flow(fitting, NSF(columns, transforms=4, hidden_features=HIDDEN), 5e-3)


def fit_realnvp(fitting: Fitting) -> Fitted:
    """A coupling flow of affine transforms."""
    columns = fitting.train.shape[1]
    return _flow(fitting, RealNVP(columns, transforms=8, hidden_features=HIDDEN), 3e-3)


def _flow(fitting: Fitting, flow: Any, rate: float) -> Fitted:
    @torch.no_grad()
    def draw(count: int) -> Tensor:
        return fitting.preparation.inverse(flow().sample((count,)))

    _train(fitting, flow, adam(rate, 1e-4), draw, batch=512)
    return Fitted(draw, fitting.density(flow.log_prob), parameters_of(flow))


def fit_vae(fitting: Fitting, prior: Any = None) -> Fitted:
    """A variational autoencoder, whose Gaussian noise is learned."""
    columns = fitting.train.shape[1]
    latent = min(columns, _LATENT)
    if prior == "flow":
        prior = NSF(latent, transforms=3, passes=2, hidden_features=[32, 32])
    model = VariationalAutoencoder(
        [columns, *HIDDEN, latent], GaussianLikelihood(0.5, learned=True), activation="silu",
        prior=prior, warm_up=_WARM_UP,
    )  # fmt: skip

    def draw(count: int) -> Tensor:
        return fitting.preparation.inverse(model.sample(count))

    _train(fitting, model, adam(3e-3, 1e-4), draw, batch=256)
    log_prob = fitting.density(partial(model.log_prob, samples=BOUND))
    return Fitted(draw, log_prob, parameters_of(model), bound=True)


def fit_gan(fitting: Fitting) -> Fitted:
    """Adversarial networks with the R1 penalty."""
    columns = fitting.train.shape[1]
    model = GAN(
        MLPGenerator(max(columns, 8), columns, HIDDEN), MLPDiscriminator(columns, HIDDEN),
        penalty="r1", weight=0.1,
    )  # fmt: skip

    def draw(count: int) -> Tensor:
        return fitting.preparation.inverse(model.sample(count))

    stopped = train_gan(fitting, model, fitting.rows(fitting.train), draw, 1e-3, 256)
    return Fitted(draw, None, parameters_of(model), stopped=stopped)


def train_gan(
    fitting: Fitting,
    model: GAN,
    x: Tensor,
    draw: Callable[[int], Tensor],
    rate: float,
    batch: int,
) -> str:
    """Trains both parts; why that ended early, if it did."""
    one = partial(optim.Adam, lr=rate, betas=(0.5, 0.9))
    both = {"discriminator": one, "generator": one}
    # Their losses say nothing on the samples: the last weights are taken.
    fitting.train_model(model, x, None, both, draw, batch=batch, part="generator")
    return "" if fitting.share >= 0.9 else "a network had won"


def fit_ddpm(fitting: Fitting) -> Fitted:
    """Denoising diffusion."""
    network = MLPDenoiser(fitting.train.shape[1], [*HIDDEN, HIDDEN[0]])
    return _denoising(fitting, DDPM(network, "cosine", "v", steps=STEPS))


def fit_flow_matching(fitting: Fitting) -> Fitted:
    """Flow matching."""
    network = MLPDenoiser(fitting.train.shape[1], [*HIDDEN, HIDDEN[0]])
    return _denoising(fitting, FlowMatching(network), steps=RUNGE_KUTTA)


def _denoising(fitting: Fitting, model: Any, **options: Any) -> Fitted:
    def draw(count: int) -> Tensor:
        return fitting.preparation.inverse(model.sample(count, **options))

    _train(fitting, model, adam(5e-3), draw, batch=512)
    log_prob = fitting.density(partial(model.log_prob, **_COARSE))
    return Fitted(draw, log_prob, parameters_of(model), measured=_TRIED)


def fit_latent_diffusion(fitting: Fitting) -> Fitted:
    """Diffusion of the latent variables of an autoencoder."""
    columns = fitting.train.shape[1]
    latent = min(columns, _LATENT)
    autoencoder = Autoencoder(
        [columns, *HIDDEN, latent], "silu", latent_activation="linear", last_activation="linear"
    )
    rows = fitting.rows(fitting.fitted)
    fitting.train_model(
        autoencoder, rows, None, adam(2e-3), None, FIRST, batch=256, targets=True, loss="mse"
    )
    return latent_diffusion(fitting, autoencoder, latent, rows, fitting.preparation.inverse)


def latent_diffusion(
    fitting: Fitting,
    autoencoder: Autoencoder,
    latent: int,
    x: Tensor,
    inverse: Callable[[Tensor], Tensor],
    validation: Tensor | None = None,
) -> Fitted:
    """The diffusion of a trained autoencoder's variables, in what is left of the budget."""
    diffusion = DDPM(MLPDenoiser(latent, [*HIDDEN, HIDDEN[0]]), "cosine", "v", steps=STEPS)
    model = LatentDiffusion(autoencoder, diffusion)

    def draw(count: int) -> Tensor:
        return inverse(model.sample(count))

    if validation is None:
        validation = fitting.preparation.forward(fitting.validation, fitting.seed + 1).rows
    fitting.train_model(model, x, validation, adam(5e-3), draw, batch=512)
    return Fitted(draw, None, parameters_of(model))


def _train(fitting: Fitting, model: Any, optimizer: Any, draw: Any, batch: int) -> None:
    validation = fitting.preparation.forward(fitting.validation, fitting.seed + 1).rows
    rows = fitting.rows(fitting.fitted)
    fitting.train_model(model, rows, validation, optimizer, draw, batch=batch)
