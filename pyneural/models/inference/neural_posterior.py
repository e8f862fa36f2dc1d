"""Simulation-based inference: the parameters of a simulator from what was measured.

A simulator draws data x for parameters theta; its likelihood p(x | theta) need not be known. From
pairs (theta_n, x_n), theta_n drawn from the prior, a conditional flow q(theta | x) learns the
posterior of all x at once. For measured x it is then evaluated, not fitted again. Below, the rate
theta of a decay is inferred from the mean x of 20 decay times:

>>> from pyneural import metrics
>>> from pyneural.models import NSF, NeuralPosterior
>>> _ = torch.manual_seed(0)
>>> def simulate(count):
...     theta = 0.5 + 2 * torch.rand(count, 1)  # the prior, U(0.5, 2.5)
...     times = torch.distributions.Exponential(theta).sample((20,))  # [20, count, 1]
...     return theta, times.mean(0)
>>> flow = NSF(1, context=1, transforms=2, hidden_features=[32, 32], bounds=[(0.5, 2.5)])
>>> posterior = NeuralPosterior(flow)
>>> posterior.compile("adam")
>>> theta, x = simulate(2000)
>>> history = posterior.fit(theta, x, batch_size=50, epochs=15, validation_split=0.1, verbose=0)
>>> measured = torch.tensor([1.0])
>>> samples = posterior.sample(measured, 1000)  # [1000, 1]
>>> bool(abs(samples.mean() - 1.05) < 0.1)  # the exact posterior is Gamma(21, 20), of mean 1.05
True

How far to trust it shows in new simulations: their true theta must be in the credible regions as
often as these say.

>>> theta, x = simulate(500)
>>> metrics.tarp(theta, posterior.sample(x, 200)).deviation < 0.1
True
>>> truth_levels = posterior.credible_level(theta, x)  # [500]
>>> metrics.expected_coverage(truth_levels).deviation < 0.1
True

If they are not, a conformal correction of the level helps: the region of all theta whose
log-density reaches a threshold contains the truth in nine of ten experiments, whatever the flow.

>>> level = metrics.conformal_level(truth_levels, 0.9)
>>> threshold = posterior.density_threshold(measured, level)
>>> posterior.log_prob([[1.0], [2.0]], measured) >= threshold
tensor([ True, False])

No such test sees that the simulator is wrong. Look whether the measured x lies among the simulated;
a warning is given where it is beyond all of them.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from pyneural.errors import ArgumentError, check_argument, is_whole
from pyneural.models.flows.distributions import NormalizingFlow
from pyneural.models.flows.flow import Flow
from pyneural.models.flows.whitening import check_columns
from pyneural.progress import progress
from pyneural.training import Batch, History, Model
from pyneural.training.data.tensors import columns_of, to_tensor
from pyneural.training.state.file import read_model, refused_as_checkpoint

_SAMPLES_AT_ONCE = 100_000  # beside the result


class NeuralPosterior(Model):
    """q(theta | x), a conditional flow that is trained on simulations: neural posterior estimation.

        min over q of  -mean_n log q(theta_n | x_n),    theta_n ~ prior,  x_n ~ p(x | theta_n)

    Its minimum is the posterior of the prior that the parameters were drawn from. ``fit`` whitens
    theta (``Flow``) and standardises x, each of its elements by mean and standard deviation over
    the simulations; both are kept with the weights. A flow with ``bounds`` of a prior on a box has
    no density outside of it, so that no samples are lost and none must be rejected.

    Args:
        flow: a ``Flow`` of D parameters, with a context of C numbers.
        embedding: network that makes C numbers [N, C] from standardised data [N, ...], as from a
            spectrum, trained with the flow; None where the data are the context.

    Raises:
        ArgumentError: what is no ``Flow``, or one without context.

    Source: Papamakarios and Murray (2016), arXiv:1605.06376; Greenberg et al. (2019),
    arXiv:1905.07488, in the version of one round.

    >>> from pyneural.models import NSF
    >>> flow = NSF(2, context=3, transforms=2)
    >>> posterior = NeuralPosterior(flow, embedding=nn.Linear(50, 3))
    >>> posterior.sample(torch.zeros(50), 4).shape, posterior.sample(torch.zeros(7, 50), 4).shape
    (torch.Size([4, 2]), torch.Size([7, 4, 2]))
    """

    mean: Tensor
    std: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, flow: Flow, embedding: nn.Module | None = None) -> None:
        super().__init__()
        remedy = "make it with context=C, the number of the data or of their summaries"
        got, expected = type(flow).__name__, "a Flow of pyneural, as models.NSF(2, context=3)"
        _check(isinstance(flow, Flow), "flow", expected, got, remedy)
        _check(flow.context != 0, "flow", "one with a context", "one without", remedy)
        self.flow, self.embedding = flow, embedding
        # Of the data; they take their shape [...] in fit, or from a file.
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("least", torch.tensor(-math.inf))
        self.register_buffer("most", torch.tensor(math.inf))

    def forward(self, x: Tensor) -> NormalizingFlow:
        """q(. | x) as a distribution of torch with the batch shape [N], of data x [N, ...]."""
        found = self.flow(self._context(x))
        # Outside of the bounds the density is 0, and that is no error.
        return NormalizingFlow(found.transform, found.base, validate_args=False)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean of -log q(theta | x) in nats, theta being ``batch.x`` and x ``batch.y``."""
        return self.flow.losses(batch._replace(y=self._context(batch.y)))

    def quantities(self) -> list[str]:
        """The loss alone."""
        return ["loss"]

    def fit(  # type: ignore[override]  # what Model calls x and y are parameters and data
        self, theta: Any, x: Any = None, *args: Any, whiten: bool = True, **kwargs: Any
    ) -> History:
        """Trains on simulations, as ``Model.fit`` does, whose further arguments it takes.

        Args:
            theta: parameters, [N, D], drawn from the prior.
            x: data, [N, ...], simulated with them.
            args: see ``Model.fit``, from ``batch_size`` on.
            whiten: whether the first training whitens theta and standardises x.
            kwargs: see ``Model.fit``.

        Returns:
            curve of the loss, in nats a simulation.

        Raises:
            ValueError: numbers of rows that differ; simulations with NaN or infinity; parameters
                that leave the bounds of the flow, are constant or follow from others; and what
                ``Model.fit`` raises.
        """
        columns = columns_of(theta)
        theta, x = self._simulations("fit", theta, x)
        check_columns("NeuralPosterior.fit: theta", theta, columns)
        if self.mean.dim() == 0:
            self.mean, self.std = torch.zeros_like(x[0]), torch.ones_like(x[0])
            self.least, self.most = x.aminmax(dim=0)
            if whiten:
                self._whiten(theta, x, columns)
        return super().fit(theta, x, *args, **kwargs)

    @torch.no_grad()
    def sample(self, x: Any, count: int) -> Tensor:
        """Samples of the posterior: [count, D] given data x [...], [N, count, D] given [N, ...]."""
        _check_count("sample: count", count)
        x, single = self._data("sample", x)
        parts = []
        for rows in progress("samples", x.split(_rows_at_once(count))):
            parts.append(self(rows).sample((count,)).transpose(0, 1))
        samples = torch.cat(parts)
        return samples[0] if single else samples

    @torch.no_grad()
    def log_prob(self, theta: Any, x: Any) -> Tensor:
        """Log-density in nats, [N], of theta [N, D] given data x [...], or [N, ...]: one for each.

        It is -inf outside of the bounds.
        """
        theta, (x, single) = self._theta("log_prob", theta), self._data("log_prob", x)
        if not single:
            _check_lengths("log_prob", theta, x)
        return self(x).log_prob(theta)

    @torch.no_grad()
    def credible_level(self, theta: Any, x: Any, samples: int = 1000) -> Tensor:
        """Level of the smallest region of highest density that contains theta, float64 [N], 0 to 1.

            a = q( q(theta' | x) > q(theta | x) ),    theta' ~ q(. | x)

        For theta from the prior, x simulated with it, and the exact posterior a is uniform: see
        ``metrics.expected_coverage`` and ``metrics.conformal_level``. It is 1 where the posterior
        is so wrong that no sample is less dense than theta.

        Args:
            theta: parameters, [N, D].
            x: data, [N, ...], one for each.
            samples: number S of theta' for each; a is a multiple of 1 / S.
        """
        theta, x = self._simulations("credible_level", theta, x)
        _check_count("credible_level: samples", samples)
        size = _rows_at_once(samples)
        levels = []
        parts = list(zip(theta.split(size), x.split(size), strict=True))
        for some, data in progress("credible levels", parts):
            posterior = self(data)
            _, of_samples = posterior.rsample_and_log_prob((samples,))  # [S, n]
            levels.append((of_samples > posterior.log_prob(some)).double().mean(0))
        return torch.cat(levels)

    @torch.no_grad()
    def density_threshold(self, x: Any, level: float, samples: int = 1000) -> float:
        """Log-density t at the edge of a region of highest density, given data x [...].

        The region of a level is {theta: log q(theta | x) >= t}: all theta whose ``credible_level``
        is at most the level, so that one of ``metrics.conformal_level`` keeps what it promises.

        Args:
            x: data, [...].
            level: share of the posterior in the region, from 0 to 1; t is -inf for 1.
            samples: number of samples that the shares are counted among, as in ``credible_level``.
        """
        x, single = self._data("density_threshold", x)
        got, remedy = f"{len(x)} of them", "call it for each"
        _check(single, "density_threshold: x", "data of one experiment", got, remedy)
        _check(0 <= level <= 1, "density_threshold: level", "0 to 1", level, "write 0.9 for 90 %")
        _check_count("density_threshold: samples", samples)
        _, of_samples = self(x).rsample_and_log_prob((samples,))  # [S, 1]
        denser = math.floor(round(level * samples, 6))  # so many samples may be denser than theta
        ordered = of_samples.flatten().sort(descending=True).values
        return float(ordered[denser]) if denser < samples else -math.inf

    def compile(
        self, *args: Any, mixed_precision: torch.dtype | None = None, **kwargs: Any
    ) -> None:
        """As ``Model.compile``, in the precision of the parameters."""
        good, got = mixed_precision is None, mixed_precision
        _check(good, "compile: mixed_precision", "None", got, "leave it out", ValueError)
        super().compile(*args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Refused: a posterior has no output beside its densities and samples."""
        got, remedy = "predict", "write posterior.sample(x, 1000)"
        _check(False, "predict", "sample or log_prob", got, remedy, NotImplementedError)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes over the weights that ``save`` wrote, with whitening and standardisation."""
        tensors, _ = read_model(path)
        expected, remedy = "the weights of this posterior", "make the one that was saved"
        with refused_as_checkpoint(f"load: {os.fspath(path)!r}", expected, remedy):
            copy.deepcopy(self).load_state_dict(tensors)  # if it fails, self stays what it was
        self.load_state_dict(tensors)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name in ("mean", "std", "least", "most"):
            value, own = state_dict.get(f"{prefix}{name}"), self._buffers[name]
            if value is not None and own is not None and value.shape != own.shape:
                self._buffers[name] = own.new_empty(value.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ArgumentError where parameters [N, D] do not fit the flow, as those of validation."""
        self.flow.check_inputs(where, x)

    def check_targets(self, where: str, y: Tensor, names: Any = None) -> None:
        """ArgumentError where data [N, ...] have another shape than those of ``fit``, or NaN."""
        expected, got = [len(y), *self.mean.shape], list(y.shape)
        good, remedy = self.mean.dim() == 0 or got == expected, "simulate as for the training"
        check_argument(good, where, str(expected), got, remedy)
        _check_finite(where, y)

    def _whiten(self, theta: Tensor, x: Tensor, columns: Any) -> None:
        std, mean = torch.std_mean(x.double(), 0)
        self.mean = mean.to(x)
        self.std = torch.where(std > 0, std, 1).to(x)  # what is constant tells nothing
        if not self.flow.whitened and len(self.flow._on_line()) > 0:
            where = "NeuralPosterior.fit: theta"
            self.flow._whiten(where, self.flow._rows(where, theta), columns)

    def _context(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        return x if self.embedding is None else self.embedding(x)

    def _simulations(self, method: str, theta: Any, x: Any) -> tuple[Tensor, Tensor]:
        """Both, checked, of the flow's dtype."""
        theta, (x, single) = self._theta(method, theta), self._data(method, x)
        got, remedy = list(x.shape[1:]) if single else list(x.shape), "give rows, [N, C]"
        _check(not single, f"{method}: x", f"data of {len(theta):,} simulations", got, remedy)
        _check_lengths(method, theta, x)
        self.flow.check_inputs(f"NeuralPosterior.{method}: theta", theta)
        return theta, x

    def _theta(self, method: str, theta: Any) -> Tensor:
        """Theta [N, D], checked, of the flow's dtype."""
        where, features = f"{method}: theta", self.flow.features
        theta = self._tensor(where, theta)
        good, remedy = theta.dim() == 2 and theta.shape[1] == features, "one column a parameter"
        _check(good, where, f"[N, {features}]", list(theta.shape), remedy)
        _check_finite(f"NeuralPosterior.{where}", theta)
        return theta

    def _data(self, method: str, x: Any) -> tuple[Tensor, bool]:
        """Data [N, ...], checked, of the flow's dtype, and whether they are those of one."""
        where = f"{method}: x"
        x = self._tensor(where, x)
        shape = self.mean.shape if self.mean.dim() else x.shape[1:] if x.dim() > 1 else x.shape
        single = x.shape == shape
        of_one = ", ".join(map(str, shape))
        expected, remedy = f"[{of_one}] or [N, {of_one}], as fit had", "simulate what was measured"
        _check(single or x.shape[1:] == shape, where, expected, list(x.shape), remedy)
        x = x[None] if single else x
        _check_finite(f"NeuralPosterior.{where}", x)
        if single:
            self._warn_beyond(where, x)
        return x, single

    def _warn_beyond(self, where: str, x: Tensor) -> None:
        """Of the data of one experiment: of many simulations some are beyond the earlier ones."""
        beyond = ((x < self.least) | (x > self.most)).sum()
        if beyond:
            warnings.warn(
                f"NeuralPosterior.{where}: {int(beyond):,} of {x.numel():,} measured values lie "
                "beyond all simulated ones, where the posterior is an extrapolation; check the "
                "simulator and the prior, or simulate more",
                stacklevel=4,
            )

    def _tensor(self, where: str, value: Any) -> Tensor:
        return to_tensor(f"NeuralPosterior.{where}", value).to(next(self.parameters()))


def _rows_at_once(count: int) -> int:
    return max(_SAMPLES_AT_ONCE // count, 1)


def _check_count(where: str, count: Any) -> None:
    good = is_whole(count) and count >= 1
    _check(good, where, "a whole number >= 1", repr(count), "write 1000")


def _check_lengths(method: str, theta: Tensor, x: Tensor) -> None:
    good, expected = len(theta) == len(x), f"{len(theta):,} rows, as theta has"
    _check(good, f"{method}: x", expected, f"{len(x):,}", "give one row for each simulation")


def _check_finite(where: str, value: Tensor) -> None:
    bad = ~value.isfinite().reshape(len(value), -1).all(1)
    if bad.any():
        check_argument(
            False, where, "finite numbers",
            f"{int(bad.sum()):,} of {len(value):,} simulations with NaN or infinity (first: row "
            f"{int(bad.nonzero()[0])})",
            "leave them out of theta and x, keep = x.isfinite().all(1), and say so: the posterior "
            "is then that of parameters whose simulation succeeds",
        )  # fmt: skip


def _check(
    good: bool,
    where: str,
    expected: str,
    got: object,
    remedy: str,
    error: type[Exception] = ArgumentError,
) -> None:
    if not good:
        raise error(f"NeuralPosterior.{where}: expected {expected}, got {got}; {remedy}")
