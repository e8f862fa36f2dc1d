"""Generative adversarial networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import is_whole
from pyneural.models.adversarial.objectives import GENERATOR_LOSSES, discriminator_terms
from pyneural.models.adversarial.penalties import (
    PENALTIES,
    between,
    distance_from_one,
    logits_and_slopes,
    logits_of,
    r1,
)
from pyneural.models.autoencoders.posterior import same_noise
from pyneural.training import Batch, Model, Trainable
from pyneural.training.callbacks import Callback, TerminateBelow, TerminateOnNaN
from pyneural.training.checks import check, look_up
from pyneural.training.data.tensors import condition_columns
from pyneural.training.evaluation import evaluation_mode
from pyneural.training.solvers.descent import Optimizer
from pyneural.training.state import file as files
from pyneural.training.state.self_describing import SelfDescribing
from pyneural.training.trainable import Minimiser

PARTS = ("discriminator", "generator")  # in the order of their updates
_WON, _PATIENCE = 1e-3, 20  # loss of a discriminator that has won, and for how many epochs


class GAN(SelfDescribing, Model):
    """A generator G and a discriminator D, each of which is trained against the other.

        loss of D = -E log D(x) - E log(1 - D(G(z))) (+ weight * penalty)
        loss of G = -E log D(G(z)),   or E log(1 - D(G(z))) of the minimax game

    with D = sigmoid(logit) and z ~ N(0, 1); a step is one update of D, then one of G. The minimax
    loss is that of the game; its gradient vanishes where D is sure that a sample is none of the
    data (see ``saturation``), which is why the other one is the default.

    Samples are in the units of the data, which are not scaled: give it columns of order one.
    ``fit`` gives the curves "discriminator" and "generator" (the losses, in nats), "penalty" if
    there is one, and "d_real" and "d_fake" (means of D(x) and D(G(z)); both are 1/2 where D cannot
    tell samples from data); "loss" is their sum and says nothing on the samples. It stops, with the
    reason, before a loss that is not finite is learnt from, and where D has won: its loss was
    below 0.001 for 20 epochs. A checkpoint of ``fit`` then stays that of the last epoch before.

    For samples of averaged weights give ``fit`` the callback ``EMA(0.99, "generator")``.

    Args:
        generator: G(z) of noise z [N, latent], or G(z, c) with conditions c [N, C], as
            ``MLPGenerator`` and ``ImageGenerator``.
        discriminator: logit [N] or [N, 1] of samples, or of (x, c), as ``MLPDiscriminator`` and
            ``ImageDiscriminator``.
        loss: "non-saturating" or "minimax", of the generator.
        smoothing: s of the target 1 - s of the data, in [0, 0.5) (Salimans et al. 2016,
            arXiv:1606.03498).
        penalty: on the discriminator: "r1", 1/2 E |grad_x logit(x)|^2 at data (Mescheder et al.
            2018, arXiv:1801.04406), or "gradient", E (|grad_x logit(x)| - 1)^2 between data and
            samples (Gulrajani et al. 2017, arXiv:1704.00028); None for none.
        weight: factor on the penalty, > 0.
        latent: components of z, where the generator has no attribute of that name.

    Raises:
        ValueError: parts that do not fit each other, unknown names, numbers out of their range.

    Source: Goodfellow et al. 2014, arXiv:1406.2661.

    >>> from pyneural.models import MLPDiscriminator, MLPGenerator
    >>> _ = torch.manual_seed(0)
    >>> model = GAN(MLPGenerator(2, 2, [32]), MLPDiscriminator(2, [32]), penalty="r1", weight=0.1)
    >>> model.compile("adam")
    >>> history = model.fit(torch.randn(500, 2) + 1, epochs=2, verbose=0)
    >>> list(history.history)
    ['loss', 'discriminator', 'generator', 'd_real', 'd_fake', 'penalty']
    >>> model.sample(5).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        generator: torch.nn.Module,
        discriminator: torch.nn.Module,
        loss: str = "non-saturating",
        *,
        smoothing: float = 0.0,
        penalty: str | None = None,
        weight: float = 1.0,
        latent: int | None = None,
    ) -> None:
        super().__init__()
        for name, part in (("generator", generator), ("discriminator", discriminator)):
            good, got = isinstance(part, torch.nn.Module), type(part).__name__
            check(good, f"GAN: {name}", "a module", got, f"see MLP{name.capitalize()}")
        self.generator: torch.nn.Module = generator
        self.discriminator: torch.nn.Module = discriminator
        self.loss = loss
        self._generator_loss = look_up("GAN: loss", loss, GENERATOR_LOSSES)
        good, expected = 0 <= smoothing < 0.5, "a number in [0, 0.5)"
        check(good, "GAN: smoothing", expected, smoothing, "write 0.1")
        self.smoothing = float(smoothing)
        good, expected = penalty is None or penalty in PENALTIES, "'r1', 'gradient' or None"
        check(good, "GAN: penalty", expected, repr(penalty), "write 'r1'")
        self.penalty = penalty
        check(0 < weight < float("inf"), "GAN: weight", "a finite number > 0", weight, "write 1.0")
        expected, remedy = "1, as there is no penalty", "write penalty='r1', too"
        check(penalty is not None or weight == 1, "GAN: weight", expected, weight, remedy)
        self.weight = float(weight)
        latent = getattr(generator, "latent", None) if latent is None else latent
        good, remedy = is_whole(latent) and latent >= 1, "write latent=2"  # type: ignore[operator]
        check(good, "GAN: latent", "a whole number >= 1", repr(latent), remedy)
        self.latent = int(latent)  # type: ignore[arg-type]
        self.condition = int(getattr(generator, "condition", 0))
        other = int(getattr(discriminator, "condition", self.condition))
        expected, remedy = f"condition={self.condition}, as the generator has", "give both the same"
        good, got = other == self.condition, f"condition={other}"
        check(good, "GAN: discriminator", expected, got, remedy)
        self.shape = self._checked_shape()
        self.term_weights = dict.fromkeys(("penalty", "d_real", "d_fake"), 0.0)
        if self.penalty is None:
            del self.term_weights["penalty"]

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Samples G(z, c), [N, ...], of noise z [N, latent] and conditions c [N, C]."""
        return self.generator(z) if c is None else self.generator(z, c)

    def noise(self, count: int) -> Tensor:
        """Standard normal noise z, [count, latent]."""
        like = next(self.generator.parameters())
        return torch.randn(count, self.latent, dtype=like.dtype, device=like.device)

    def sample(self, count: int, condition: Any = None) -> Tensor:
        """Samples [count, ...], in evaluation mode.

        Args:
            count: how many.
            condition: of each sample, [count, C], or its class, [count].

        Raises:
            ValueError: a count below 1, or conditions that do not fit.
        """
        good = is_whole(count) and count >= 1
        check(good, "GAN.sample: count", "a whole number >= 1", repr(count), "write 10")
        z = self.noise(count)
        c = self.condition_of("GAN.sample: condition", condition, z)
        with evaluation_mode(self):
            return self(z, c)

    def compile(  # type: ignore[override]
        self, optimizer: Optimizer | Mapping[str, Optimizer], *, clip_norm: float | None = None
    ) -> None:
        """Says how to train.

        Args:
            optimizer: for both parts, a name or what makes one, as in ``Model.compile``; or a dict
                of "generator" and "discriminator".
            clip_norm: largest norm of the gradient of each part, > 0.

        Raises:
            ValueError: other parts, an unknown name or a number out of its range.
        """
        if not isinstance(optimizer, Mapping):
            good, got = not isinstance(optimizer, torch.optim.Optimizer), "one optimiser"
            remedy = "give what makes one, or a dict with one for each"
            check(good, "GAN.compile: optimizer", "one for each of two parts", got, remedy)
            optimizer = dict.fromkeys(PARTS, optimizer)
        expected, got = "'generator' and 'discriminator'", ", ".join(map(repr, optimizer))
        check(set(optimizer) == set(PARTS), "GAN.compile: optimizer", expected, got)
        super().compile({part: optimizer[part] for part in PARTS}, clip_norm=clip_norm)

    def training_step(self, batch: Batch, solver: Minimiser) -> dict[str, Tensor]:
        """One update of the discriminator, then one of the generator."""
        x, c = self._batch(batch)
        with torch.no_grad():
            fake = self(self.noise(len(x)), c)
        loss, terms = self._discriminator_loss(batch, x, c, fake)
        solver.minimise(loss, "discriminator")
        logits = logits_of(self.discriminator, self(self.noise(len(x)), c), c)
        loss = self._generator_loss(logits).mean()
        solver.minimise(loss, "generator")
        return self._in_order(terms | {"generator": loss})

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Both losses, the penalty, and the means of D(x) and D(G(z)), [] each.

        In evaluation mode the noise is a function of the batch.
        """
        x, c = self._batch(batch)
        z = self.noise(len(x)) if self.training else same_noise(x, self.latent)
        fake = self(z, c)
        _, terms = self._discriminator_loss(batch, x, c, fake.detach())
        loss = self._generator_loss(logits_of(self.discriminator, fake, c)).mean()
        return self._in_order(terms | {"generator": loss})

    def quantities(self) -> list[str]:
        """Names of the curves of a pass."""
        names = ["loss", "discriminator", "generator", "d_real", "d_fake"]
        return names if self.penalty is None else [*names, "penalty"]

    def own_callbacks(self) -> list[Callback]:
        """What ends a training that has failed."""
        return [TerminateOnNaN(), TerminateBelow("discriminator", _WON, _PATIENCE)]

    def check_inputs(self, where: str, x: Tensor) -> None:
        """ValueError where samples of the data have another shape than those of the generator."""
        expected, got = ["N", *self.shape], ["N", *x.shape[1:]]
        remedy = "the generator makes such samples: give it, or the data, the other's shape"
        check(got == expected, where, str(expected).replace("'", ""), list(x.shape), remedy)

    def chain(self) -> list[torch.nn.Module]:
        """Generator and discriminator."""
        return [self.generator, self.discriminator]

    def config(self) -> dict[str, Any]:
        """What a resumed training must have in common with the first one."""
        names = ("loss", "smoothing", "penalty", "weight")
        return Trainable.config(self) | {name: getattr(self, name) for name in names}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor, the modules as ``load_model`` makes them."""
        parts = {name: files.describe(getattr(self, name)) for name in PARTS}
        plain = ("loss", "smoothing", "penalty", "weight", "latent")
        return parts | {name: getattr(self, name) for name in plain}

    def _discriminator_loss(
        self, batch: Batch, x: Tensor, c: Tensor | None, fake: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator minimises, and the quantities of it."""
        penalty: Tensor | None = None
        if self.penalty == "r1":
            real, slopes = logits_and_slopes(self.discriminator, x, c)
            penalty = r1(slopes)
        else:
            real = logits_of(self.discriminator, x, c)
        if self.penalty == "gradient":
            _, slopes = logits_and_slopes(self.discriminator, between(x, fake, self._shares(x)), c)
            penalty = distance_from_one(slopes)
        made = logits_of(self.discriminator, fake, c)
        of_real, of_fake = discriminator_terms(real, made, self.smoothing)
        if batch.weight is not None:
            of_real = of_real * batch.weight
        loss = of_real.mean() + of_fake.mean()
        means = torch.stack([real.detach(), made.detach()]).sigmoid().mean(1)
        terms = {"discriminator": loss, "d_real": means[0], "d_fake": means[1]}
        if penalty is not None:
            terms["penalty"] = penalty
            loss = loss + self.weight * penalty
        return loss, terms

    def _shares(self, x: Tensor) -> Tensor:
        """A number in [0, 1] for each sample, [N]; in evaluation mode a function of the batch."""
        if self.training:
            return torch.rand(len(x), dtype=x.dtype, device=x.device)
        return torch.special.ndtr(same_noise(x, 1)[:, 0])

    def _in_order(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: terms[name] for name in self.quantities()[1:]}

    def _batch(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        x = batch.x
        check(len(x) > 0, "GAN.losses: batch", "at least one row", "none", "leave it out")
        return x, self.condition_of("GAN.losses: y", batch.y, x)

    def condition_of(self, where: str, c: Any, like: Tensor) -> Tensor | None:
        """Conditions of samples as columns, [N, C]."""
        expected = f"{self.condition} columns, or a class each" if self.condition else "none"
        good, got = (c is None) == (self.condition == 0), "none" if c is None else "some"
        remedy = "make both parts with condition=C for conditions of C columns or classes"
        check(good, where, expected, got, remedy)
        if c is None:
            return None
        c = condition_columns(where, c, self.condition, like)
        check(len(c) == len(like), where, f"{len(like)} of them", len(c), "one for each sample")
        return c

    def _checked_shape(self) -> tuple[int, ...]:
        """The shape of a sample; ValueError unless the discriminator gives a logit for each."""
        with evaluation_mode(self):
            z = next(self.generator.parameters()).new_zeros(2, self.latent)
            c = z.new_zeros(2, self.condition) if self.condition else None
            try:
                x = self(z, c)
                found = self.discriminator(x) if c is None else self.discriminator(x, c)
            except (RuntimeError, TypeError) as error:
                of_z = f"z of {self.latent} components"
                raise ValueError(
                    f"GAN: expected a generator of {of_z} and a discriminator of its samples, got "
                    f"{type(error).__name__}: {error}; make the parts for each other"
                ) from error
        good, got = isinstance(x, Tensor) and x.dim() >= 2 and len(x) == 2, list(x.shape)
        check(good, "GAN: generator(z)", "[N, ...] for z of N rows", got, "a row for each of z")
        good = list(found.shape) in ([2], [2, 1])
        remedy = "let it end with one output and no sigmoid"
        check(good, "GAN: discriminator(x)", "a logit for each of 2 samples, [2, 1] or [2]",
              list(found.shape), remedy)  # fmt: skip
        return tuple(x.shape[1:])
