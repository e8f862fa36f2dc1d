"""Weights of the terms of a loss that balance themselves while a model is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.training.callback import Callback
from pyneural.training.callbacks.every import LossWeights
from pyneural.training.checks import check, check_count
from pyneural.training.data.batches import Batch
from pyneural.training.trainable import Trainable

Numbers = dict[str, list[float]]  # of the parts of each term


class Balancing(Callback):
    """Base of the callbacks that balance the weights of the terms of a loss.

    The weights begin as the model has them and are those of the gradients from the step after the
    one in which they were computed, as in the codes of the papers, so that nothing of a step is
    computed twice. Each equation of a system has its own. A term of weight 0, which is measured
    and not minimised, stays so, as does a system with an equation of weight 0. Weights and what
    they are made from are in the checkpoint.

    They change in phases of gradients alone (``Phase.follows_gradients``: ``Adam``, ``Descent``).
    Others, as quasi-Newton methods and Levenberg and Marquardt's, which compare values of one loss,
    and ``SPRING``, keep the weights that the phase before has reached.

    A subclass writes ``balance``.

    Args:
        every: steps from one update of the weights to the next, >= 1.
    """

    state_attributes: tuple[str, ...] = ("weights",)

    def __init__(self, every: int) -> None:
        check_count(f"{type(self).__name__}: every", every, 10)
        self.every = every
        self.weights: Numbers = {}

    def balance(self, batch: Batch, losses: Mapping[str, Tensor]) -> Numbers:
        """New weights of the parts of the terms, but for those that are not minimised.

        Args:
            batch: of the step; None for all data.
            losses: the terms of the step.
        """
        raise NotImplementedError

    def on_train_begin(self) -> None:
        """Refuses what it cannot balance; forgets what was seen before."""
        run, kind = self.run, type(self).__name__
        steps = [phase for phase in run.phases if phase.follows_gradients]
        got = ", ".join(phase.name for phase in run.phases)
        remedy = (
            "begin with Adam(...), whose weights the phases after it keep, or give the weights as "
            "numbers: only phases with follows_gradients call what balances them"
        )
        check(bool(steps), f"{kind}: phases", "one with steps of gradients", got, remedy)
        own = type(run.model).training_step is not Trainable.training_step
        got = f"{type(run.model).__name__}, which has a training_step of its own"
        check(not own, f"{kind}: model", "one that minimises the sum of its terms", got)
        others = [c for c in run.callbacks if isinstance(c, (Balancing, LossWeights))]
        got, remedy = ", ".join(type(c).__name__ for c in others), "leave out all but one"
        check(len(others) == 1, f"{kind}: callbacks", "one that sets weights", got, remedy)
        for name, weights in run.model.part_weights().items():
            for weight in weights:
                where, remedy = f"{kind}: weights[{name!r}]", "give a number, or leave it out"
                check(not isinstance(weight, str), where, "a number", f"a {weight} one", remedy)
        self.weights = {}

    def on_gradients(self, batch: Batch, losses: Mapping[str, Tensor]) -> None:
        """Updates the weights, if it is time."""
        run = self.run
        if run.steps % self.every or not run.phases[run.phase].follows_gradients:
            return
        new = self.balance(batch, losses)
        if all(math.isfinite(w) for weights in new.values() for w in weights):  # else the engine
            self.weights |= new  # says which term is not finite
            self.run.model.weigh_parts(new)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave, and gives the model the weights."""
        super().load_state_dict(state)
        self.run.model.weigh_parts(self.weights)

    def present(self, parts: Mapping[str, Sequence[Any]]) -> Numbers:
        """The weights as they are, one for each of the parts given; without terms of weight 0."""
        given = self.run.model.part_weights()
        known = {name: given.get(name, [1.0]) for name in parts}
        each = {n: w if len(w) == len(parts[n]) else w * len(parts[n]) for n, w in known.items()}
        return {name: list(map(float, w)) for name, w in each.items() if all(w)}

    def mean(self, values: Mapping[str, Sequence[float]], batch: Batch) -> Numbers:
        """Means of values over the samples of all processes."""
        run, flat = self.run, [value for part in values.values() for value in part]
        share = 1.0 if batch is None else batch.share
        left = iter(run.process_group.mean(flat, share, run.device))
        return {name: [next(left) for _ in part] for name, part in values.items()}


class GradientNormWeights(Balancing):
    """Weights that bring the gradients of all terms to one size (learning-rate annealing).

        lambda_i <- (1 - alpha) lambda_i + alpha max |dL_r/dtheta| / mean |lambda_i dL_i/dtheta|

    with L_r the reference, the residual, L_i the other terms, and maximum and mean over theta, the
    parameters of the network (Wang, Teng and Perdikaris 2021, "Understanding and mitigating
    gradient flow pathologies in physics-informed neural networks", SIAM J. Sci. Comput. 43; alpha,
    the ten steps and lambda_i in the mean, without which it would grow for ever, as in their code).
    The weight of the residual is 1; of a system, whose equations the paper adds up, each equation e
    has max_e' max |dL_e'/dtheta| / max |dL_e/dtheta|, and the largest of these gradients is the
    reference.

    It costs the gradient of each term every so many steps.

    Args:
        every: steps from one update to the next.
        alpha: share of the new value in the moving average, in (0, 1].
        reference: name of the term that the others are compared with.

    Raises:
        ValueError: numbers out of their range, or, when training begins, a model without that
            term, weights that are learned or functions, a second callback that sets weights, or
            no phase of gradients.

    >>> from pyneural import models, nn, pde
    >>> from pyneural.training import Adam
    >>> burgers = pde.Burgers()
    >>> pinn = models.PINN(nn.MLP(2, [8], 1), burgers.conditions(20), equation=burgers, points=50)
    >>> _ = pinn.fit(Adam(20), callbacks=[GradientNormWeights()], progress=False)
    >>> pinn.weights["initial"] != 1, pinn.weights["residual"]
    (True, 1.0)
    """

    def __init__(self, every: int = 10, alpha: float = 0.1, reference: str = "residual") -> None:
        super().__init__(every)
        check(0 < alpha <= 1, "GradientNormWeights: alpha", "a number in (0, 1]", alpha)
        self.alpha, self.reference = float(alpha), reference

    def balance(self, batch: Batch, losses: Mapping[str, Tensor]) -> Numbers:
        """The equation above, on the data of the step."""
        model, group = self.run.model, self.run.process_group
        parts = model.parts(batch)
        present = self.present(parts)
        expected = f"one of {', '.join(present)}, whose weights are above 0"
        got, remedy = repr(self.reference), "give reference=, the name of the term to compare with"
        good = self.reference in present
        check(good, "GradientNormWeights: reference", expected, got, remedy)
        parameters, share = model.shared_parameters(), 1.0 if batch is None else batch.share

        def sizes(term: Tensor) -> tuple[float, float]:
            """Largest and mean element of a gradient."""
            found = torch.autograd.grad(
                term, parameters, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            flat = group.sum(torch.cat([g.flatten() for g in found]) * (share / group.size)).abs()
            return float(flat.max()), float(flat.mean())

        measured = {name: [sizes(term) for term in parts[name]] for name in present}
        largest = max(size for size, _ in measured[self.reference])
        new: Numbers = {}
        for name, before in present.items():
            of_reference = name == self.reference
            found = [
                size if of_reference else weight * mean
                for weight, (size, mean) in zip(before, measured[name], strict=True)
            ]
            new[name] = [
                (1 - self.alpha) * weight + self.alpha * largest / size if size else weight
                for weight, size in zip(before, found, strict=True)
            ]
        return new


class NTKWeights(Balancing):
    """Weights that let all terms converge at one rate, by the neural tangent kernel.

        lambda_i = sum_j k_j / k_i,   k_i = (1 / N_i) tr K_i = (1 / N_i) sum_n |dr_i(x_n)/dtheta|^2

    with r_i the residuals that term i is the mean square of, at N_i points, and theta the
    parameters of the network (Wang, Yu and Perdikaris 2022, "When and why PINNs fail to train: a
    neural tangent kernel perspective", J. Comput. Phys. 449). Where all terms have equally many
    points this is the tr K / tr K_i of the paper; the means keep the weights from depending on how
    many points a term has. There is no moving average. Each equation of a system is a term.

    The kernel is exact, by ``ops.jet_mlp_jacobian`` for an ``nn.MLP`` and a chunk of points at a
    time; for other networks it takes a backward pass for each residual, which is slow.

    Args:
        every: steps from one update to the next.

    Raises:
        ValueError: when training begins, a model that has no ``kernel_means``, as ``PINN`` has;
            weights that are learned or functions, a second callback that sets weights, or phases
            of L-BFGS alone.

    >>> from pyneural import models, nn, pde
    >>> from pyneural.training import Adam
    >>> burgers = pde.Burgers()
    >>> pinn = models.PINN(nn.MLP(2, [8], 1), burgers.conditions(20), equation=burgers, points=50)
    >>> _ = pinn.fit(Adam(2), callbacks=[NTKWeights()], progress=False)
    >>> round(sum(1 / pinn.weights[name] for name in pinn.weights), 12)
    1.0
    """

    def __init__(self, every: int = 100) -> None:
        super().__init__(every)

    def on_train_begin(self) -> None:
        """Refuses what it cannot balance; forgets what was seen before."""
        got, good = type(self.run.model).__name__, hasattr(self.run.model, "kernel_means")
        remedy = "use GradientNormWeights or ReLoBRaLo, which need no residuals"
        check(good, "NTKWeights: model", "one with kernel_means, as a PINN", got, remedy)
        super().on_train_begin()

    def balance(self, batch: Batch, losses: Mapping[str, Tensor]) -> Numbers:
        """The equation above, on the data of the step."""
        found = self.mean(self.run.model.kernel_means(batch), batch)
        present = self.present(found)
        total = sum(mean for name in present for mean in found[name])
        return {
            name: [total / mean if mean else w for mean, w in zip(found[name], before, strict=True)]
            for name, before in present.items()
        }


class ReLoBRaLo(Balancing):
    """Relative loss balancing with random lookback: larger weights for terms that fall slowly.

        b_i(t, t') = m exp(L_i(t) / (T L_i(t'))) / sum_j exp(L_j(t) / (T L_j(t')))
        lambda_i(t) = alpha (rho lambda_i(t - 1) + (1 - rho) b_i(t, 0)) + (1 - alpha) b_i(t, t - 1)

    for the m terms L_i, with the model's weights as lambda(0), 1 if not given, and rho drawn in
    each step, 1 with probability ``rho`` and else 0 (Bischof and Kraus 2021, "Multi-objective loss
    balancing for physics-informed deep learning", arXiv:2110.09813). No gradients are needed, and
    the losses are those of the step; the single losses of a system of equations take an evaluation
    more.

    Args:
        alpha: how much of the past is kept, in [0, 1].
        rho: probability of not looking back to the first losses, in [0, 1].
        temperature: T; small ones give nearly all weight to the slowest term.
        every: steps from one update to the next.
        seed: of the random lookbacks.

    Raises:
        ValueError: numbers out of their range, or, when training begins, weights that are learned
            or functions, a second callback that sets weights, or no phase of gradients.

    >>> from pyneural import models, nn, pde
    >>> from pyneural.training import Adam
    >>> burgers = pde.Burgers()
    >>> pinn = models.PINN(nn.MLP(2, [8], 1), burgers.conditions(20), equation=burgers, points=50)
    >>> _ = pinn.fit(Adam(20), callbacks=[ReLoBRaLo(alpha=0.9)], progress=False)
    >>> round(sum(pinn.weights[name] for name in pinn.weights), 12)
    3.0
    """

    state_attributes = ("weights", "first", "before", "lookback")

    def __init__(
        self,
        alpha: float = 0.999,
        rho: float = 0.999,
        temperature: float = 0.1,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(every)
        for name, value in (("alpha", alpha), ("rho", rho)):
            check(0 <= value <= 1, f"ReLoBRaLo: {name}", "a number in [0, 1]", value)
        check(temperature > 0, "ReLoBRaLo: temperature", "a number > 0", temperature)
        self.alpha, self.rho, self.temperature = float(alpha), float(rho), float(temperature)
        self.seed = seed
        self._begin()

    def _begin(self) -> None:
        self.first: Numbers = {}
        self.before: Numbers = {}
        self._generator = torch.Generator().manual_seed(self.seed)

    @property
    def lookback(self) -> Tensor:
        """State of the generator of rho."""
        return self._generator.get_state()

    @lookback.setter
    def lookback(self, state: Tensor) -> None:
        self._generator.set_state(state)

    def on_train_begin(self) -> None:
        """Refuses what it cannot balance; forgets what was seen before."""
        super().on_train_begin()
        self._begin()

    def balance(self, batch: Batch, losses: Mapping[str, Tensor]) -> Numbers:
        """The equations above."""
        now = self._values(batch, losses)
        weights = self.present(now)
        if not self.first:
            self.first = self.before = now
            return weights
        looks_back = float(torch.rand((), generator=self._generator)) >= self.rho
        to_first, to_last = (
            self._relative(now, then, weights) for then in (self.first, self.before)
        )
        self.before = now
        past = to_first if looks_back else weights
        return {
            name: [
                self.alpha * kept + (1 - self.alpha) * last
                for kept, last in zip(past[name], to_last[name], strict=True)
            ]
            for name in weights
        }

    def _values(self, batch: Batch, losses: Mapping[str, Tensor]) -> Numbers:
        """The terms of the step, those of single equations apart."""
        values = {name: [float(losses[name])] for name in self.present({n: [0] for n in losses})}
        if not self.first or any(len(parts) > 1 for parts in self.first.values()):
            with torch.no_grad():
                parts = self.run.model.parts(batch)
            values |= {n: list(map(float, parts[n])) for n in values if len(parts[n]) > 1}
        return self.mean(values, batch)

    def _relative(self, now: Numbers, then: Numbers, weights: Numbers) -> Numbers:
        """b(t, t') of all parts."""
        tiny = torch.finfo(torch.float64).tiny
        ratios = [
            value / max(self.temperature * past, tiny)
            for name in weights
            for value, past in zip(now[name], then[name], strict=True)
        ]
        shares = torch.softmax(torch.tensor(ratios, dtype=torch.float64), 0) * len(ratios)
        left = iter(shares.tolist())
        return {name: [next(left) for _ in parts] for name, parts in weights.items()}
