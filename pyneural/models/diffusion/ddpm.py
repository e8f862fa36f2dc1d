"""Denoising diffusion probabilistic models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.models.diffusion.denoising_model import DenoisingModel
from pyneural.models.diffusion.probability_flow import check_divergence, log_prob_by_flow
from pyneural.models.diffusion.samplers import ddim_steps
from pyneural.models.diffusion.schedule import NoiseSchedule
from pyneural.models.diffusion.targets import TARGETS
from pyneural.models.diffusion.whole_loop import sample_in_one_call
from pyneural.progress import progress
from pyneural.training.checks import check, look_up

SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {
    "linear": NoiseSchedule.linear,
    "cosine": NoiseSchedule.cosine,
}


class DDPM(DenoisingModel):
    """Denoising diffusion probabilistic model.

        x_t = alpha_t x_0 + sigma_t eps,  t = 1, ..., T
        loss = E |target - f(x_t, t / T)|^2,  target = eps, or v = alpha_t eps - sigma_t x_0, or x_0

    the mean over the elements of a sample, at one random t for each. Samples go back from x_T,
    which is noise, step by step. Schedule, target and sampler are three separate things: a model
    that is trained once can be sampled with any list of times, and any share of noise.

    Args:
        denoiser: f(x, t) of x [N, ...] and t / T [N], or f(x, t, c) of conditions, as
            ``MLPDenoiser``.
        schedule: "linear", "cosine", or a ``NoiseSchedule``.
        target: "epsilon", "v" or "x0".
        steps: T of a schedule that is given by its name.
        drop_condition: see ``DenoisingModel``.
        bounds: likewise; images need it, as the noise has the standard deviation 1.

    Raises:
        ValueError: an unknown schedule or target, or a share that is none.

    Source: Ho, Jain and Abbeel 2020, arXiv:2006.11239.

    >>> from pyneural.models import MLPDenoiser
    >>> _ = torch.manual_seed(0)
    >>> model = DDPM(MLPDenoiser(2, [32, 32]))
    >>> model.compile("adam")
    >>> history = model.fit(torch.randn(500, 2) + 3, epochs=2, verbose=0)
    >>> model.sample(5).shape, model.sample(5, steps=20, eta=0.0).shape
    (torch.Size([5, 2]), torch.Size([5, 2]))
    """

    alpha: Tensor
    sigma: Tensor

    def __init__(
        self,
        denoiser: torch.nn.Module,
        schedule: str | NoiseSchedule = "linear",
        target: str = "epsilon",
        *,
        steps: int = 1000,
        drop_condition: float = 0.0,
        bounds: Sequence[float] | None = None,
    ) -> None:
        super().__init__(denoiser, drop_condition, bounds)
        self.target = target
        self._target = look_up("DDPM: target", target, TARGETS)
        self.schedule = schedule
        if isinstance(schedule, str):
            schedule = look_up("DDPM: schedule", schedule, SCHEDULES)(steps)
        self._schedule = schedule
        self.steps = schedule.steps
        self.register_buffer("alpha", schedule.alpha.float(), persistent=False)
        self.register_buffer("sigma", schedule.sigma.float(), persistent=False)

    def diffuse(self, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t of x_0 = x [N, ...] in scaled units, for steps t [N] and noise eps like x."""
        return self._at(self.alpha, t, x) * x + self._at(self.sigma, t, x) * eps

    def _at(self, of_time: Tensor, t: Tensor, like: Tensor) -> Tensor:
        """Elements [N, 1, ...] of [T + 1]."""
        return of_time.to(like.dtype)[t].reshape(-1, *[1] * (like.dim() - 1))

    def errors(self, x: Tensor, c: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The mean square error of each sample, at a random step, [N]."""
        options: dict[str, Any] = {"generator": generator, "device": x.device}
        t = torch.randint(1, self.steps + 1, (len(x),), **options)
        return self.errors_at(x, t, torch.randn(x.shape, dtype=x.dtype, **options), c)

    def errors_at(self, x: Tensor, t: Tensor, eps: Tensor, c: Tensor | None = None) -> Tensor:
        """The same at steps t [N] with noise eps like x."""
        target = self._target.of(x, eps, self._at(self.alpha, t, x), self._at(self.sigma, t, x))
        found = self(self.diffuse(x, t, eps), t.to(x.dtype) / self.steps, c)
        return (found - target).square().flatten(1).mean(1)

    def sample(
        self,
        count: int,
        condition: Any = None,
        *,
        steps: int | Sequence[int] | None = None,
        eta: float = 1.0,
        guidance: float = 0.0,
        clip: bool = False,
    ) -> Tensor:
        """Samples [count, ...] in the units of the data.

        All steps are one call of ``ops.diffusion_sampler`` where the denoiser is an ``MLPDenoiser``
        that nobody has changed.

        Args:
            count: how many.
            condition: of each sample, [count, C], or its class, [count]; or an image,
                [count, C, H, W], whose height and width the sample then has.
            steps: a number of times, evenly spaced, or the times themselves, falling; None for all
                T of them.
            eta: share of the noise of a step: 1 is the ancestral sampler of DDPM, 0 is DDIM.
            guidance: w of f(x, t, c) + w (f(x, t, c) - f(x, t, 0)); 0 for none.
            clip: whether what the denoiser says of x_0 is put within ``bounds`` at each step, as
                Ho, Jain and Abbeel did.

        Raises:
            ValueError: times, shares or conditions that do not fit, clipping without bounds.
        """
        times, table = self._plan(steps, eta, clip)
        x, c = self.noise_and_condition(count, condition, guidance)
        with self.evaluating():
            if not clip:
                shares, coefficients = [t / self.steps for t in times], table[:, [0, 2, 1]]
                found = sample_in_one_call(self, x, shares, coefficients, c, guidance)
                if found is not None:
                    return found * self.scale + self.shift
            points = self._points(x, c, times, table, guidance, clip)
            for point in progress("samples", points, len(times) + 1):
                x = point
            return x * self.scale + self.shift

    def trajectory(
        self,
        count: int,
        condition: Any = None,
        *,
        steps: int | Sequence[int] | None = None,
        eta: float = 1.0,
        guidance: float = 0.0,
        clip: bool = False,
    ) -> Tensor:
        """The points that S steps of sampling go through, [S + 1, count, ...], from noise on.

        Arguments, units and errors are those of ``sample``.
        """
        times, table = self._plan(steps, eta, clip)
        x, c = self.noise_and_condition(count, condition, guidance)
        with self.evaluating():
            points = self._points(x, c, times, table, guidance, clip)
            found = torch.stack(list(progress("paths", points, len(times) + 1)))
            return found * self.scale + self.shift

    def paths(self, count: int, points: int = 50) -> Tensor:
        """Points x_t on the ways from noise to samples by DDIM, in the units of the data.

        Args:
            count: how many ways.
            points: number of evenly spaced times, both ends included.

        Returns:
            [points, count, ...].
        """
        good = is_whole(points) and points >= 2
        check(good, "DDPM.paths: points", "a whole number >= 2", points, "write 50")
        return self.trajectory(count, steps=points - 1, eta=0.0)

    def _plan(
        self, steps: int | Sequence[int] | None, eta: float, clip: bool
    ) -> tuple[Sequence[int], Tensor]:
        """Times and their steps, of x_0 where that is to be clipped, else of the target."""
        good, remedy = not clip or self.bounds is not None, "make the model with bounds=(low, high)"
        check(good, "DDPM.sample: clip", "a model with bounds", "none", remedy)
        times = steps if isinstance(steps, Sequence) else self._schedule.times(steps)
        target = TARGETS["x0"] if clip else self._target
        return times, ddim_steps(self._schedule, target, times, eta)

    def _points(
        self,
        x: Tensor,
        c: Tensor | None,
        times: Sequence[int],
        table: Tensor,
        guidance: float,
        clip: bool,
    ) -> Iterator[Tensor]:
        """The noise x, and the point after each step, in scaled units; each step is a call."""
        yield x
        for t, (a, b, noise) in zip(times, table.tolist(), strict=True):
            f = self.guided(x, x.new_full((len(x),), t / self.steps), c, guidance)
            if clip:
                of_t = float(self._schedule.alpha[t]), float(self._schedule.sigma[t])
                (u, w), _ = self._target.sample_and_noise(*of_t)
                f = (u * x + w * f).clamp(-1, 1)
            x = a * x + b * f
            if noise:
                x = x + noise * torch.randn_like(x)
            yield x

    def log_prob(
        self, x: Any, condition: Any = None, *, rtol: float = 1e-5, atol: float = 1e-5
    ) -> Tensor:
        """Log-likelihood of rows x [N, D], [N], in nats, by the probability-flow equation.

            dx/dl = sigma (eps(x, t) - sigma x),   l = log(sigma_t / alpha_t)

        It has the marginal densities of the diffusion, and DDIM is its solution by Euler's method.
        The density is that of the data with the noise of the first step, alpha_1 x_0 + sigma_1 eps
        divided by alpha_1, as at t = 0 no noise is left to be predicted; between two steps, t is
        linear in l.

        Args:
            x: [N, D].
            condition: of each row, [N, C], or its class, [N].
            rtol: relative tolerance of the integration.
            atol: absolute tolerance, in scaled units.

        Raises:
            ValueError: a denoiser that is no ``MLPDenoiser``, whose divergence is not known.

        Source: Song et al. 2020, arXiv:2011.13456, eq. 13 and 39.
        """
        network = check_divergence("DDPM.log_prob: denoiser", self.denoiser)
        x = self.given("log_prob", x)
        c = None if condition is None else self._condition("log_prob: condition", condition, x)
        ratios = self._schedule.log_noise_to_signal().numpy()
        shares = np.arange(1, self.steps + 1) / self.steps
        features = x.shape[1]

        def rates(log_ratio: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            ratio = float(log_ratio)
            alpha, sigma = 1 / math.hypot(1, math.exp(ratio)), 1 / math.hypot(1, math.exp(-ratio))
            t = x.new_tensor(np.interp(ratio, ratios, shares))
            f, divergence = network.value_and_divergence(x, t, c)
            _, (p, q) = self._target.sample_and_noise(alpha, sigma)
            eps, divergence = p * x + q * f, p * features + q * divergence
            return sigma * (eps - sigma * x), sigma * (divergence - sigma * features)

        with self.evaluating():
            alpha = float(self._schedule.alpha[1])
            first, last = float(ratios[0]), float(ratios[-1])
            scaled = alpha * (x - self.shift) / self.scale
            found = log_prob_by_flow(rates, scaled, first, last, rtol=rtol, atol=atol)
            return found + features * math.log(alpha) - self.scale.log().sum()

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, the denoiser as ``load_model`` makes it."""
        good = isinstance(self.schedule, str)
        remedy = "give it by its name, or save the weights and make the model in code"
        check(good, "save: schedule", "'linear' or 'cosine'", repr(self.schedule), remedy)
        plain = ("schedule", "target", "steps", "drop_condition", "bounds")
        return self.denoiser_config() | {name: getattr(self, name) for name in plain}
