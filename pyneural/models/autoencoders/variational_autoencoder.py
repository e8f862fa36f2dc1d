"""Variational autoencoder: a latent-variable model whose posterior is a network's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import count as count_up
from typing import Any

import torch
from torch import Tensor, distributions

from pyneural import nn
from pyneural.errors import ArgumentError, is_whole, whole
from pyneural.models.autoencoders import posterior
from pyneural.models.autoencoders.likelihoods import Likelihood, is_positive, likelihood_of
from pyneural.models.autoencoders.priors import StandardNormal, checked_prior, distribution_of
from pyneural.models.autoencoders.warm_up import BetaWarmUp
from pyneural.progress import progress
from pyneural.training import Model, Trainable
from pyneural.training.callbacks import Callback
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.data.batches import Batch
from pyneural.training.data.tensors import check_finite
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.state import file as files
from pyneural.training.state.self_describing import SelfDescribing

_ELEMENTS = 1 << 22  # of x in one pass of the decoder in ``log_prob``


class VariationalAutoencoder(SelfDescribing, Model):
    """A latent-variable model p(x|z) p(z) with an encoder for its posterior (Kingma, Welling 2014).

        q(z|x) = N(z; mu(x), diag sigma(x)^2),   (mu, log sigma^2) = encoder(x)
        ELBO(x) = E_q [log p(x|z)] - KL(q(z|x) || p(z))  <=  log p(x)
        loss = mean_n  -E_q [log p(x_n|z)] + beta KL(q(z|x_n) || p(z))

    with z = mu + sigma eps, eps ~ N(0, 1), one z a sample (the reparameterisation). The ELBO is in
    nats a sample and summed over the sample's elements. A mean over them, as some programs take,
    divides the first term by their number and not the second: the posterior then collapses, q(z|x)
    = p(z), and the decoder ignores z. The divergence is exact for the standard normal prior, else
    log q(z|x) - log p(z) at the same z.

    Training gives the curves "loss", "reconstruction" (the first term, -E_q log p(x|z)), "kl"
    and "elbo", whose beta is always 1, and each with "val_". Watch "val_elbo", since "val_loss" has
    the beta of the moment. Measurements of ``fit`` and ``evaluate`` draw the same eps for the same
    batch each time, and others for another batch.

    Args:
        encoder: layer widths [inputs, hidden ..., latent] of an ``nn.MLP``; or a module that gives
            mu and log sigma^2, [N, 2 latent].
        likelihood: of p(x|z): "bernoulli", "gaussian", or one of ``BernoulliLikelihood``,
            ``BinomialLikelihood``, ``GaussianLikelihood``.
        decoder: a module from z, [N, latent], to the likelihood's parameters, of the shape of x;
            None for an ``nn.MLP`` with the encoder's widths in reverse order.
        latent: components of z, where the encoder is a module.
        activation: of the hidden layers of an ``nn.MLP``.
        prior: p(z), with ``log_prob`` of [N, latent] and ``sample``; or a module whose call gives
            such a distribution, as a flow, which is then trained along; nowhere 0, as with bounds
            or angles. None for N(0, 1).
        beta: factor on the divergence, > 0; 1 for the ELBO (Higgins et al. 2017).
        warm_up: number of steps or epochs over which that factor rises linearly from 0 to beta,
            against a collapse at the start (Bowman et al. 2016).
        unit: "step" or "epoch", of the warm-up, whose place is in the ``state_dict``; beta as it is
            now is ``term_weights["kl"]``.

    Raises:
        ArgumentError: arguments that do not fit each other, or out of their range.

    >>> _ = torch.manual_seed(0)
    >>> model = VariationalAutoencoder([64, 32, 2], "bernoulli")
    >>> model.compile("adam")
    >>> x = (torch.rand(100, 64) < 0.2).float()
    >>> history = model.fit(x, epochs=2, verbose=0)
    >>> list(history.history)
    ['loss', 'reconstruction', 'kl', 'elbo']
    >>> model.sample(5).shape, model.encode(x).mean.shape, model.log_prob(x, samples=10).shape
    (torch.Size([5, 64]), torch.Size([100, 2]), torch.Size([100]))
    """

    takes_counts = True  # whole numbers are converted, not refused
    updates: Tensor

    def __init__(
        self,
        encoder: Sequence[int] | torch.nn.Module,
        likelihood: str | Likelihood = "bernoulli",
        *,
        decoder: torch.nn.Module | None = None,
        latent: int | None = None,
        activation: str = "relu",
        prior: Any = None,
        beta: float = 1.0,
        warm_up: int = 0,
        unit: str = "step",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not isinstance(encoder, torch.nn.Module):
            widths = [whole(f"{name}: encoder", width) for width in encoder]
            good, got = len(widths) >= 2 and latent in (None, widths[-1]), f"{widths}, {latent=}"
            remedy = "[784, 128, 2] encodes 784 inputs as 2 latent variables"
            _check(good, f"{name}: encoder", "widths [inputs, ..., latent]", got, remedy)
            inputs, *hidden, latent = widths
            encoder = nn.MLP(inputs, hidden, 2 * latent, activation)
            if decoder is None:
                decoder = nn.MLP(latent, hidden[::-1], inputs, activation)
        remedy = "give it beside an encoder that is a module"
        good = isinstance(decoder, torch.nn.Module)
        got = "None" if decoder is None else type(decoder).__name__
        _check(good, f"{name}: decoder", "a module", got, remedy)
        good = is_whole(latent) and latent >= 1  # type: ignore[operator]
        _check(good, f"{name}: latent", "a whole number >= 1", latent, "write latent=2")
        remedy = "write 1.0; models.Autoencoder has no divergence"
        _check(is_positive(beta), f"{name}: beta", "a finite number > 0", repr(beta), remedy)
        good = is_whole(warm_up) and warm_up >= 0
        _check(good, f"{name}: warm_up", "a whole number >= 0", repr(warm_up), "write 1000")
        good = unit in ("step", "epoch")
        _check(good, f"{name}: unit", "'step' or 'epoch'", repr(unit), "write one")
        self.latent = int(latent)  # type: ignore[arg-type]
        self.encoder: torch.nn.Module = encoder
        self.decoder: torch.nn.Module = decoder  # type: ignore[assignment]
        self.likelihood = likelihood_of(f"{name}: likelihood", likelihood)
        self.prior: Any = StandardNormal(self.latent) if prior is None else prior
        checked_prior(f"{name}: prior", self.prior, self.latent)
        self.beta, self.warm_up, self.unit = float(beta), int(warm_up), unit
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.term_weights = {"elbo": 0.0}
        self.set_beta()
        self.register_load_state_dict_post_hook(_set_beta)

    def encode(self, x: Any) -> distributions.Distribution:
        """Posterior q(z|x) of x, [N, ...]: a normal distribution of z, [N, latent]."""
        x = self._given("encode", x)
        return posterior.normal(*self._posterior(x))

    def decode(self, z: Tensor) -> distributions.Distribution:
        """The distribution p(x|z) of z, [N, latent]."""
        good, got = z.dim() == 2 and z.shape[1] == self.latent, list(z.shape)
        remedy = "one row for each sample"
        _check(good, f"{type(self).__name__}.decode: z", f"[N, {self.latent}]", got, remedy)
        return self.likelihood(self.decoder(z))

    def prior_distribution(self) -> distributions.Distribution:
        """The prior p(z)."""
        return distribution_of(self.prior)

    def forward(self, x: Tensor) -> Tensor:
        """Mean of p(x|z) at the mean of q(z|x), in the units of x: the reconstruction."""
        return self.likelihood(self.decoder(self._posterior(x)[0])).mean

    def elbo(self, x: Any) -> Tensor:
        """ELBO of each sample, [N], in nats, with one z of each: an unbiased estimate.

        Args:
            x: samples, [N, ...].

        Raises:
            ValueError: values that the likelihood does not have.
        """
        x = self._given("elbo", x)
        reconstruction, kl = self._terms(x, None)
        return -(reconstruction + kl)

    def log_prob(self, x: Any, samples: int = 1) -> Tensor:
        """Lower bound of log p(x), [N], in nats, from K = ``samples`` values of z.

            L_K = E [log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)],   z_k ~ q(z|x)
            ELBO = L_1 <= L_2 <= ... <= log p(x)

        (Burda, Grosse and Salakhutdinov 2016). It is a bound, not the log-likelihood, however large
        K is: figures of different K cannot be compared.

        Args:
            x: samples, [N, ...].
            samples: K, >= 1. The decoder takes the K N rows in parts: without gradients, under
                ``torch.no_grad()``, the memory does not grow with K; else it is that of all.
        """
        where = f"{type(self).__name__}.log_prob: samples"
        _check(is_whole(samples) and samples >= 1, where, "a whole number >= 1", samples, "write 1")
        x = self._given("log_prob", x)
        rows = max(1, _ELEMENTS // max(1, x[:1].numel()))
        parts = [(part, _counts(int(samples), rows // max(1, len(part)))) for part in x.split(rows)]
        passes = sum(len(counts) for _, counts in parts)
        with closing(progress("log-likelihood", count_up(), passes)) as shown:
            return torch.cat([self._bound(part, counts, shown) for part, counts in parts])

    def _bound(self, x: Tensor, counts: Sequence[int], shown: Iterator[int]) -> Tensor:
        """The bound of ``log_prob``, of so many z in each pass of the decoder."""
        mean, log_variance = self._posterior(x)
        prior = self.prior_distribution()
        total = mean.new_full((len(x),), -math.inf)
        for count in counts:
            next(shown)
            eps = torch.randn(count, *mean.shape, dtype=mean.dtype, device=mean.device)
            z = (mean + (0.5 * log_variance).exp() * eps).flatten(0, 1)  # [count N, latent]
            repeated = x.repeat(count, *[1] * (x.dim() - 1))
            joint = self._log_likelihood(z, repeated) + prior.log_prob(z)
            ratio = joint.view(count, len(x)) - posterior.log_density(eps, log_variance)
            total = torch.cat([total[None], ratio]).logsumexp(0)
        return total - math.log(sum(counts))

    def sample(self, count: int, *, mean: bool = False) -> Tensor:
        """Samples x ~ p(x|z), z ~ p(z), [count, ...], in evaluation mode.

        Args:
            count: how many.
            mean: whether to give the mean of p(x|z) instead of a draw, as for a picture; what
                measures compare with the data are draws.
        """
        where = f"{type(self).__name__}.sample: count"
        _check(is_whole(count) and count >= 1, where, "a whole number >= 1", count, "write 10")
        with evaluation_mode(self):
            distribution = self.decode(self.prior_distribution().sample((count,)))
            return distribution.mean if mean else distribution.sample()

    def reconstruct(self, x: Any) -> Any:
        """The reconstruction of x in evaluation mode; an array of an array or frame."""
        with evaluation_mode(self):
            found = self(self._given("reconstruct", x))
        return found if isinstance(x, Tensor) else found.cpu().numpy()

    def interpolate(self, a: Any, b: Any, count: int = 9) -> Tensor:
        """Means of p(x|z) on the straight line from the latent means of a to those of b.

        They are computed in evaluation mode.

        Args:
            a: samples, [N, ...].
            b: as many others.
            count: points of the line, ends included, >= 2.

        Returns:
            [count, N, ...].
        """
        where = f"{type(self).__name__}.interpolate"
        good = is_whole(count) and count >= 2
        _check(good, f"{where}: count", "a whole number >= 2", count, "write 9")
        got, remedy = f"{len(a)} and {len(b)} of them", "a line has one end of each"
        _check(len(a) == len(b), f"{where}: a and b", "as many samples", got, remedy)
        with evaluation_mode(self):
            begin, end = self.encode(a).mean, self.encode(b).mean
            steps = torch.linspace(0, 1, count, dtype=begin.dtype, device=begin.device)
            z = torch.lerp(begin, end, steps[:, None, None])
            return self.decode(z.flatten(0, 1)).mean.unflatten(0, (count, len(begin)))

    def latent_plane(self, count: int = 15) -> tuple[Tensor, Tensor]:
        """Means of p(x|z) on a grid of the plane of two latent variables.

        The grid divides the standard normal distribution into parts of equal probability, as in
        figure 4 of Kingma and Welling (2014). The means are computed in evaluation mode.

        Args:
            count: points along each axis.

        Returns:
            z [count, count, 2], whose first component grows along the second dimension and whose
            second falls along the first, as in a picture; and the means [count, count, ...].
        """
        name = type(self).__name__
        got, remedy = f"a model with latent={self.latent}", "use interpolate or sample"
        _check(self.latent == 2, f"{name}.latent_plane", "two latent variables", got, remedy)
        good = is_whole(count) and count >= 1
        _check(good, f"{name}.latent_plane: count", "a whole number >= 1", count, "write 15")
        like = next(self.decoder.parameters())
        shares = (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count
        axis = torch.special.ndtri(shares)
        z = torch.stack(torch.meshgrid(axis, axis.flip(0), indexing="xy"), -1)
        with evaluation_mode(self):
            return z, self.decode(z.flatten(0, 1)).mean.unflatten(0, (count, count))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Means over the samples of -E_q log p(x|z), the divergence and the ELBO."""
        config = self._compile_config
        dtype = None if config is None else config.descent.mixed_precision
        x = batch.x
        where, remedy = f"{type(self).__name__}.losses: batch", "leave it out"
        _check(len(x) > 0, where, "at least one row", "none", remedy)
        eps = None if self.training else posterior.same_noise(x, self.latent)
        with nullcontext() if dtype is None else torch.autocast(x.device.type, dtype):
            reconstruction, kl = (_mean(term, batch.weight) for term in self._terms(x, eps))
        return {"reconstruction": reconstruction, "kl": kl, "elbo": -(reconstruction + kl).detach()}

    def quantities(self) -> list[str]:
        """Names of the curves of a pass."""
        return ["loss", "reconstruction", "kl", "elbo"]

    def own_callbacks(self) -> list[Callback]:
        """The warm-up of beta."""
        return [BetaWarmUp()] if self.warm_up else []

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ArgumentError where x has another width, or values that the likelihood does not have."""
        inputs = getattr(self.encoder, "in_features", None)
        if inputs is not None:
            good, got = x.dim() == 2 and x.shape[1] == inputs, list(x.shape)
            remedy = "write x.reshape(len(x), -1) for images, or give modules that take their shape"
            _check(good, where, f"[N, {inputs}]", got, remedy)
        self.likelihood.check(where, x)

    def chain(self) -> list[torch.nn.Module]:
        """Encoder and decoder."""
        return [self.encoder, self.decoder]

    def config(self) -> dict[str, Any]:
        """What a resumed training must have in common with the first one."""
        own = {"beta": self.beta, "warm_up": self.warm_up, "unit": self.unit}
        kinds = {"likelihood": type(self.likelihood).__name__, "prior": type(self.prior).__name__}
        # Not what ``Model`` adds: a ``Trainer`` needs no compiled model.
        return {**Trainable.config(self), **own, **kinds}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, the modules as ``load_model`` makes them."""
        names = ["encoder", "likelihood", "decoder"]
        if not isinstance(self.prior, StandardNormal):
            names.append("prior")
        parts = {name: files.describe(getattr(self, name)) for name in names}
        plain = ("latent", "beta", "warm_up", "unit")
        return parts | {name: getattr(self, name) for name in plain}

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and log variance of q(z|x), [N, latent] each."""
        found = self.encoder(x)
        expected, got = [len(x), 2 * self.latent], list(found.shape)
        remedy = "its first half is mu, its second log sigma^2"
        _check(got == expected, f"{type(self).__name__}: encoder(x)", str(expected), got, remedy)
        mean, log_variance = found.to(x.dtype).chunk(2, 1)
        return mean, log_variance

    def _log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        output = self.decoder(z)
        good, got = output.shape == x.shape, f"{list(output.shape)} for x of {list(x.shape)}"
        remedy = "let it end with the shape of a sample, as by torch.nn.Unflatten"
        _check(good, f"{type(self).__name__}: decoder(z)", "the shape of x", got, remedy)
        return self.likelihood.log_prob(output.to(x.dtype), x)

    def _terms(self, x: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor]:
        """-log p(x|z) and the divergence of each sample, [N] each, from one z."""
        mean, log_variance = self._posterior(x)
        eps = torch.randn_like(mean) if eps is None else eps
        z = mean + (0.5 * log_variance).exp() * eps
        if isinstance(self.prior, StandardNormal):  # appendix B of Kingma and Welling
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        else:
            kl = posterior.log_density(eps, log_variance) - self.prior_distribution().log_prob(z)
        return -self._log_likelihood(z, x), kl

    def _given(self, method: str, x: Any) -> Tensor:
        """What a user gave, as a checked tensor of the model's dtype."""
        where = f"{type(self).__name__}.{method}"
        if not isinstance(x, Tensor):
            return DataAdapter(where, self, None, 1).inputs(x)
        got, remedy = list(x.shape), "leave an empty batch out"
        _check(x.numel() > 0, f"{where}: x", "[N, ...] with at least one row", got, remedy)
        x = x.to(next(self.parameters()).dtype)
        check_finite(f"{where}: x", x)
        self.check_inputs(f"{where}: x", x)
        return x

    def set_beta(self) -> None:
        """Gives the divergence its present weight; never 0, so that every parameter is trained."""
        updates = 0 if self.updates.is_meta else int(self.updates)
        done = (updates + 1) / self.warm_up if self.warm_up else 1.0
        self.term_weights["kl"] = self.beta * min(1.0, done)


def _set_beta(model: VariationalAutoencoder, _: Any) -> None:
    """After weights were loaded; a function of the module, so that the model can be pickled."""
    model.set_beta()


def _counts(samples: int, at_once: int) -> list[int]:
    """A number of samples in parts.

    >>> _counts(10, 4)
    [4, 4, 2]
    """
    at_once = max(1, at_once)
    return [min(at_once, samples - begin) for begin in range(0, samples, at_once)]


def _mean(terms: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the samples, each term times the sample's weight."""
    return terms.mean() if weight is None else (terms * weight).mean()


def _check(good: bool, where: str, expected: str, got: object, remedy: str) -> None:
    if not good:
        raise ArgumentError(f"{where}: expected {expected}, got {got}; {remedy}")
