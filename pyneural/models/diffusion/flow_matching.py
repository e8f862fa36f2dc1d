"""Flow matching: a velocity that carries noise to data along straight paths."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import count as count_up
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.models.diffusion.coupling import COUPLINGS
from pyneural.models.diffusion.denoising_model import DenoisingModel
from pyneural.models.diffusion.probability_flow import check_divergence, log_prob_by_flow
from pyneural.models.diffusion.samplers import runge_kutta_steps
from pyneural.models.diffusion.whole_loop import sample_in_one_call
from pyneural.ode import odeint
from pyneural.ode.tableau import RK4
from pyneural.progress import progress
from pyneural.training.checks import check, look_up


class FlowMatching(DenoisingModel):
    """Flow matching with a Gaussian source.

        x_t = t x_1 + (1 - (1 - sigma) t) x_0,  x_0 ~ N(0, 1), x_1 from the data, 0 <= t <= 1
        loss = E |dx_t/dt - f(x_t, t)|^2

    the mean over the elements of a sample, at one random t for each. With sigma = 0 this is the
    rectified flow (Liu, Gong and Liu 2022, arXiv:2209.03003), with a small sigma the path of
    optimal transport (Lipman et al. 2022, arXiv:2210.02747, eq. 22). The solution of dx/dt = f from
    t = 0 to 1 turns noise into samples, and back it gives the exact likelihood:

        log p(x_1) = log N(x_0; 0, 1) - int_0^1 div f dt

    Args:
        velocity: f(x, t) of x [N, ...] and t [N], or f(x, t, c) of conditions, as ``MLPDenoiser``.
        sigma: standard deviation of the path's end around a sample, in scaled units.
        coupling: "independent" noise for each sample, or by "optimal_transport" within a batch,
            which makes the learnt paths straighter (``coupling.optimal_transport``); it is for
            models without conditions, and needs scipy.
        drop_condition: see ``DenoisingModel``.
        bounds: likewise; images need it, as the noise has the standard deviation 1.

    Raises:
        ValueError: a sigma or a share that is none, an unknown coupling.

    >>> from pyneural.models import MLPDenoiser
    >>> _ = torch.manual_seed(0)
    >>> model = FlowMatching(MLPDenoiser(2, [32, 32]))
    >>> model.compile("adam")
    >>> history = model.fit(torch.randn(500, 2) + 3, epochs=2, verbose=0)
    >>> x = model.sample(5)
    >>> model.log_prob(x).shape
    torch.Size([5])
    """

    def __init__(
        self,
        velocity: torch.nn.Module,
        sigma: float = 0.0,
        *,
        coupling: str = "independent",
        drop_condition: float = 0.0,
        bounds: Sequence[float] | None = None,
    ) -> None:
        super().__init__(velocity, drop_condition, bounds)
        check(0 <= sigma < 1, "FlowMatching: sigma", "a number in [0, 1)", sigma, "write 0 or 1e-4")
        self.sigma, self.coupling = float(sigma), coupling
        self._coupled = look_up("FlowMatching: coupling", coupling, COUPLINGS)

    def errors(self, x: Tensor, c: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """The mean square error of each sample, at a random time, [N]."""
        options: dict[str, Any] = {"generator": generator, "dtype": x.dtype, "device": x.device}
        good, remedy = c is None or self.coupling == "independent", "leave the condition out"
        check(good, "FlowMatching.losses: y", f"none with coupling={self.coupling!r}, which would "
              "tie the noise to it", "a condition", remedy)  # fmt: skip
        t, noise = torch.rand(len(x), **options), torch.randn(x.shape, **options)
        noise = self._coupled(noise, x)
        shrinking = 1 - self.sigma
        of_t = t.reshape(-1, *[1] * (x.dim() - 1))
        found = self(of_t * x + (1 - shrinking * of_t) * noise, t, c)
        return (found - (x - shrinking * noise)).square().flatten(1).mean(1)

    def sample(
        self,
        count: int,
        condition: Any = None,
        *,
        steps: int | None = None,
        guidance: float = 0.0,
        rtol: float = 1e-5,
        atol: float = 1e-5,
    ) -> Tensor:
        """Samples [count, ...] in the units of the data.

        Equal steps are one call of ``ops.diffusion_sampler`` where the velocity is an
        ``MLPDenoiser`` that nobody has changed.

        Args:
            count: how many.
            condition: of each sample, [count, C], or its class, [count]; or an image,
                [count, C, H, W], whose height and width the sample then has.
            steps: number of equal steps of the fourth-order Runge-Kutta method; None for
                Dormand-Prince with error control.
            guidance: w of f(x, t, c) + w (f(x, t, c) - f(x, t, 0)); 0 for none.
            rtol: relative tolerance of the error control.
            atol: absolute tolerance, in scaled units.

        Raises:
            ValueError: conditions or steps that do not fit.
        """
        x, c = self.noise_and_condition(count, condition, guidance)

        def velocity(t: Tensor, x: Tensor) -> Tensor:
            next(shown)
            return self.guided(x, t.expand(count), c, guidance)

        options: dict[str, Any] = {"rtol": rtol, "atol": atol}
        if steps is not None:
            options = {"method": "rk4", "steps": steps}
        stages = None if steps is None else len(RK4.nodes) * steps
        with self.evaluating(), closing(progress("samples", count_up(), stages)) as shown:
            found = None
            if steps is not None:
                plan = runge_kutta_steps(RK4, steps)
                found = sample_in_one_call(self, x, *plan, c, guidance)
            x = odeint(velocity, x, [0.0, 1.0], **options)[-1] if found is None else found
            return x * self.scale + self.shift

    def paths(self, count: int, points: int = 50) -> Tensor:
        """Points x(t) on the ways from noise, t = 0, to samples, t = 1, in the units of the data.

        Args:
            count: how many ways.
            points: number of evenly spaced times, both ends included.

        Returns:
            [points, count, ...].
        """
        good = is_whole(points) and points >= 2
        check(good, "FlowMatching.paths: points", "a whole number >= 2", points, "write 50")
        x, _ = self.noise_and_condition(count, None)

        def velocity(t: Tensor, x: Tensor) -> Tensor:
            next(shown)
            return self(x, t.expand(count))

        with self.evaluating(), closing(progress("paths", count_up())) as shown:
            found = odeint(velocity, x, torch.linspace(0, 1, points).tolist())
            return found * self.scale + self.shift

    def log_prob(
        self, x: Any, condition: Any = None, *, rtol: float = 1e-6, atol: float = 1e-6
    ) -> Tensor:
        """Log-likelihood of rows x [N, D], [N], in nats, in evaluation mode.

        Args:
            x: [N, D].
            condition: of each row, [N, C], or its class, [N].
            rtol: relative tolerance of the integration.
            atol: absolute tolerance, in scaled units.

        Raises:
            ValueError: a velocity that is no ``MLPDenoiser``, whose divergence is not known.
        """
        network = check_divergence("FlowMatching.log_prob: velocity", self.denoiser)
        x = self.given("log_prob", x)
        c = None if condition is None else self._condition("log_prob: condition", condition, x)

        def rates(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            return network.value_and_divergence(x, t, c)

        with self.evaluating():
            scaled = (x - self.shift) / self.scale
            found = log_prob_by_flow(rates, scaled, 1.0, 0.0, rtol=rtol, atol=atol)
            return found - self.scale.log().sum()

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, the velocity as ``load_model`` makes it."""
        own = {
            name: getattr(self, name) for name in ("sigma", "coupling", "drop_condition", "bounds")
        }
        return {"velocity": self.denoiser_config()["denoiser"]} | own
