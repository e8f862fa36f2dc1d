"""The networks for images: of convolutions where the pixels' places matter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural.experiments.comparison.fitting import Fitted, Fitting, parameters_of
from pyneural.experiments.comparison.training import adam
from pyneural.experiments.comparison.vectors import (
    BOUND,
    FIRST,
    STEPS,
    latent_diffusion,
    train_gan,
)
from pyneural.models import (
    DDPM,
    GAN,
    NSF,
    Autoencoder,
    BinomialLikelihood,
    Flow,
    FlowMatching,
    Gaussianisation,
    GaussianLikelihood,
    ImageDiscriminator,
    ImageGenerator,
    MLPDenoiser,
    MLPDiscriminator,
    MLPGenerator,
    RealNVP,
    UNetDenoiser,
    VariationalAutoencoder,
)
from pyneural.models.flows.lazy import standard_normal

_LATENT, _NOISE = 16, 32  # variables of autoencoders, and of adversarial networks
_FEW = 32  # grey levels up to which they are counts of a binomial distribution
_BINS = 32  # of the histograms of pixels that are no whole numbers
_SAMPLED, _RUNGE_KUTTA = 30, 6  # steps of the samplers of diffusion (DDIM) and of flow matching
_WIDTH = 16  # channels of a U-Net
_BY_COUPLING = 100  # pixels above which a flow is one of coupling, whose samples are as fast
_LARGE = 20  # pixels of an edge above which a network has fewer channels
_DECAY = 1.0  # of weights of a flow, which learns few images by heart


def fit_nsf(fitting: Fitting) -> Fitted:
    """A neural spline flow of pixels that their histograms have made normal."""
    pixels = fitting.train.shape[1]
    passes = 2 if pixels > _BY_COUPLING else None
    flow = NSF(pixels, bins=4, transforms=3, hidden_features=[256], passes=passes)
    return _flow(fitting, flow)


def fit_realnvp(fitting: Fitting) -> Fitted:
    """A coupling flow of affine transforms, likewise."""
    return _flow(fitting, RealNVP(fitting.train.shape[1], transforms=8, hidden_features=[256]))


def _flow(fitting: Fitting, transforms: Any) -> Fitted:
    pixels = fitting.train.shape[1]
    rows = fitting.rows(fitting.fitted)
    histograms = Gaussianisation(pixels, fitting.data.levels or _BINS)
    histograms.set_from(rows)
    flow: Any = Flow([histograms, *transforms.transform], standard_normal(pixels))

    @torch.no_grad()
    def draw(count: int) -> Tensor:
        return fitting.preparation.inverse(flow().sample((count,)))

    validation = fitting.preparation.forward(fitting.validation, fitting.seed + 1).rows
    fitting.train_model(flow, rows, validation, adam(3e-3, _DECAY), draw, batch=64)
    return Fitted(draw, fitting.density(flow.log_prob), parameters_of(flow))


def fit_vae(fitting: Fitting, prior: Any = None) -> Fitted:
    """A variational autoencoder: binomial where there are few grey levels, else Gaussian."""
    pixels, levels = fitting.train.shape[1], fitting.data.levels
    counts = levels is not None and levels <= _FEW
    if prior == "flow":
        prior = NSF(_LATENT, transforms=3, passes=2, hidden_features=[32, 32])
    likelihood: Any = GaussianLikelihood(0.3, learned=True)
    if counts:
        likelihood = BinomialLikelihood(levels - 1)  # type: ignore[operator]
    model = VariationalAutoencoder(
        [pixels, 256, 256, _LATENT], likelihood, activation="silu", prior=prior, warm_up=200
    )

    def inverse(x: Tensor) -> Tensor:
        if not counts:
            return fitting.preparation.inverse(x)
        return x.double() if levels else x

    def draw(count: int) -> Tensor:
        return inverse(model.sample(count))

    def picture(count: int) -> Tensor:
        mean = model.sample(count, mean=True)
        return mean.double() if counts else fitting.preparation.inverse(mean)

    if counts:
        x, validation = fitting.fitted.float(), fitting.validation.float()
    else:
        x = fitting.rows(fitting.fitted)
        validation = fitting.preparation.forward(fitting.validation, fitting.seed + 1).rows
    fitting.train_model(model, x, validation, adam(1e-3, 0.1), draw, batch=64)

    @torch.no_grad()
    def of_counts(x: Tensor) -> Tensor:
        return model.log_prob(x.float(), samples=BOUND).double()

    density = of_counts if counts else fitting.density(partial(model.log_prob, samples=BOUND))
    return Fitted(draw, density, parameters_of(model), True, picture, measured=500)


def fit_gan(fitting: Fitting) -> Fitted:
    """Adversarial networks of convolutions, or of rows where edges are no multiples of four."""
    shape, preparation = fitting.data.shape, fitting.preparation
    if shape is None or shape[1] % 4 or shape[2] % 4:
        pixels = fitting.train.shape[1]
        generator: Any = MLPGenerator(_NOISE, pixels, [256, 256])
        model = GAN(generator, MLPDiscriminator(pixels, [256, 256]), penalty="r1")
        x = preparation.unit(fitting.train)
    else:
        width = 16 if max(shape) > _LARGE else 32
        generator = ImageGenerator(_NOISE, shape, width)
        model = GAN(generator, ImageDiscriminator(shape, width), penalty="r1")
        x = preparation.unit(fitting.train).unflatten(1, shape)

    def draw(count: int) -> Tensor:
        return preparation.of_unit(model.sample(count).flatten(1))

    stopped = train_gan(fitting, model, x, draw, 2e-3, 64)
    return Fitted(draw, None, parameters_of(model), stopped=stopped)


def fit_ddpm(fitting: Fitting) -> Fitted:
    """Denoising diffusion by a U-Net."""

    def make(network: torch.nn.Module, **units: Any) -> Any:
        return DDPM(network, "cosine", "v", steps=STEPS, **units)

    return _denoising(fitting, make, {"steps": _SAMPLED, "eta": 0.0, "clip": True})


def fit_flow_matching(fitting: Fitting) -> Fitted:
    """Flow matching by a U-Net."""
    return _denoising(fitting, FlowMatching, {"steps": _RUNGE_KUTTA})


def _denoising(fitting: Fitting, make: Callable[..., Any], options: dict[str, Any]) -> Fitted:
    shape, preparation = fitting.data.shape, fitting.preparation
    rows = preparation.unit(fitting.fitted), preparation.unit(fitting.validation)
    if shape is None or shape[1] % 2 or shape[2] % 2:
        network: Any = MLPDenoiser(fitting.train.shape[1], [256, 256, 256])
    else:
        large = max(shape) > _LARGE and shape[1] % 4 == shape[2] % 4 == 0
        network = UNetDenoiser(shape, _WIDTH, (1, 2, 2) if large else (1, 2))
        rows = rows[0].unflatten(1, shape), rows[1].unflatten(1, shape)
    model = make(network, bounds=(0, 1))

    def draw(count: int) -> Tensor:
        return preparation.of_unit(model.sample(count, **options).flatten(1))

    fitting.train_model(model, rows[0], rows[1][:500], adam(2e-3), draw, batch=64)
    return Fitted(draw, None, parameters_of(model))


def fit_latent_diffusion(fitting: Fitting) -> Fitted:
    """Diffusion of the latent variables of an autoencoder."""
    preparation, pixels = fitting.preparation, fitting.train.shape[1]
    x, validation = preparation.unit(fitting.fitted), preparation.unit(fitting.validation)
    widths = [pixels, 256, 128, _LATENT]
    autoencoder = Autoencoder(widths, "silu", latent_activation="linear", last_activation="sigmoid")
    fitting.train_model(
        autoencoder, x, None, adam(1e-3, 0.01), None, FIRST, batch=64, targets=True,
        loss="binary_crossentropy",
    )  # fmt: skip
    return latent_diffusion(fitting, autoencoder, _LATENT, x, preparation.of_unit, validation)
