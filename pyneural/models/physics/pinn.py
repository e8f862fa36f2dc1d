"""Physics-informed neural network: data and an equation in one loss."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from pyneural.models.physics.checks import (
    RESIDUAL,
    check_conditions,
    check_inputs_agree,
    check_points,
    check_unknowns,
)
from pyneural.models.physics.point_source import PointSource
from pyneural.models.physics.reference import Reference
from pyneural.pde import Box, Condition, Equation, Hard, Network, residual_adaptive
from pyneural.pde.unknowns import leaves
from pyneural.training import Batch, Phase, TensorBatches, Trainable, Trainer, TrainingReport
from pyneural.training.callbacks import Callback
from pyneural.training.checks import check, check_count
from pyneural.training.data.adapter import of_arrays

_CANDIDATES = 10  # drawn for each point that a residual-adaptive refresh takes
_CHUNK = 1 << 16  # points predicted at once


class PINN(Trainable):
    """A network that is trained to meet conditions and an equation.

        loss = sum_c w_c mean_n |u(x_n) - u_n|^2  +  w_r mean_n r(x_n)^2

    (Raissi, Perdikaris and Karniadakis, 2019): a term for each condition c, on its own points, and
    the term "residual" with the residual r of the equation on collocation points inside the domain.
    Without an equation it is a network trained on the data alone.

    Weights, collocation points and the generator's state are in the ``state_dict``.

    Args:
        network: gives u(x) and its jets: ``nn.MLP``, ``pde.Hard``.
        conditions: by name; may be empty only for a ``pde.Hard`` network, which has them built in.
        equation: None for a network on data alone.
        domain: of the points; by default the equation's own.
        points: how many collocation points to draw, or the points, [N, D], which stay as they are.
        candidates: points [M, D] that collocation points are taken from, then and later, as for a
            domain with a hole; None for all of the domain.
        sampling: how they are drawn from the domain, one of ``pde.SAMPLINGS``.
        adaptive: whether each phase of training but the first begins with new collocation points,
            drawn where the residual is large (``pde.residual_adaptive``).
        weights: of loss terms by name; 1 where not given.
        generator: CPU generator for the points; None makes one from torch's default generator.

    Raises:
        ValueError: no conditions, given points that are to be adaptive, points outside the domain,
            dtypes or devices that differ from the network's, unknown names of weights, or an
            equation, condition or ``pde.Hard`` whose inputs are not those of the domain, in order.

    >>> from pyneural import nn
    >>> from pyneural.pde import Burgers
    >>> burgers = Burgers()
    >>> network = nn.MLP(2, [8, 8], 1, input_range=burgers.domain.range)
    >>> pinn = PINN(network, burgers.conditions(20), equation=burgers, points=100)
    >>> {name: bool(term > 0) for name, term in pinn.losses().items()}
    {'initial': True, 'boundary': True, 'residual': True}
    """

    collocation: Tensor

    def __init__(
        self,
        network: torch.nn.Module,
        conditions: Mapping[str, Condition],
        *,
        equation: Equation | None = None,
        domain: Box | None = None,
        points: int | Tensor = 10_000,
        candidates: Tensor | None = None,
        sampling: str = "lhs",
        adaptive: bool = False,
        weights: Mapping[str, float] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.network, self.equation = network, equation
        found: Any = getattr(equation, "domain", None) if domain is None else domain
        check(
            isinstance(found, Box), "PINN: domain", "a pde.Box", type(found).__name__,
            "give domain=pde.Box(t=(0, 1), x=(-1, 1)), or an equation that has one",
        )  # fmt: skip
        self.domain: Box = found
        self.adaptive, self.sampling = adaptive, sampling
        self.generator = generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        check_conditions(conditions, isinstance(network, Hard) and equation is not None)
        check_inputs_agree(network, conditions, equation, found)
        like = next(network.parameters())
        for name, condition in conditions.items():
            check_points(condition.points, f"conditions[{name!r}]", found, like)
        self.conditions = torch.nn.ModuleDict(dict(conditions))
        self.term_weights = self._checked_weights(weights or {})
        given = isinstance(points, Tensor)
        self.source = PointSource(found, sampling, self.generator, candidates, given)
        if equation is not None:
            if candidates is not None:
                check_points(candidates, "candidates", found, like)
            if adaptive:
                self.source.check_redraws("PINN: adaptive")
            if isinstance(points, Tensor):
                check_points(points, "points", found, like)
                drawn = points.detach().clone()
            else:
                drawn = self.source.draw(points, like)
            self.register_buffer("collocation", drawn)
        self._settle_unknowns()

    def _settle_unknowns(self) -> None:
        """Fixes what other networks prescribe; refuses parts that do not fit each other."""
        own = {id(parameter) for parameter in self.parameters()}
        with torch.enable_grad():
            for _, condition in self.named_conditions():
                used = leaves(condition.target)
                if used and not any(id(tensor) in own for tensor in used):
                    condition.fix()
            check_unknowns(self.losses(), own)

    @property
    def dtype(self) -> torch.dtype:
        """The network's."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The network's."""
        return next(self.network.parameters()).device

    def named_conditions(self) -> list[tuple[str, Condition]]:
        """The conditions and their names."""
        return cast("list[tuple[str, Condition]]", list(self.conditions.items()))

    @property
    def weights(self) -> dict[str, float]:
        """Those of the loss terms, by name; may be changed during training."""
        return self.term_weights

    def losses(self, batch: Batch | None = None) -> dict[str, Tensor]:
        """Unweighted loss terms, []: the conditions by their names, then "residual".

        Args:
            batch: its x are the numbers of the collocation points to take; None takes all.
        """
        terms = {name: condition.loss(self._u) for name, condition in self.named_conditions()}
        if self.equation is not None:
            points = self.collocation if batch is None else self.collocation[batch.x]
            terms[RESIDUAL] = self.equation.loss(self._u, points)
        return terms

    def fit(
        self,
        phases: Phase | Sequence[Phase],
        *,
        batch_size: int | None = None,
        steps_per_epoch: int = 100,
        reference: tuple[Tensor, Tensor] | None = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        every: float = 10.0,
        resume: bool = False,
        time_limit: float | None = None,
        progress: bool = True,
    ) -> TrainingReport:
        """Trains, as ``training.Trainer`` does; after Ctrl-C it writes the checkpoint and returns.

        An epoch, which callbacks such as EarlyStopping count, is a pass through the collocation
        points where there is a ``batch_size``, else ``steps_per_epoch`` steps.

        Args:
            phases: ``[Adam(1000), LBFGS(5000)]``.
            batch_size: collocation points of a step; None takes all.
            steps_per_epoch: see above.
            reference: points [N, D] and the solution there [N, O]: the relative L2 error is
                measured after each epoch and is "error" in the history, as for
                ``EarlyStopping("error", patience=5)``.
            callbacks: see ``training.callbacks``.
            checkpoint: file, ``*.safetensors``, for the whole state of the training.
            every: seconds between two checkpoints.
            resume: whether to go on from the checkpoint, bit by bit, if there is one.
            time_limit: seconds of training after which to stop; None for no limit.
            progress: whether to show a bar on stderr.

        Returns:
            a report a phase, and curves.

        Raises:
            ValueError: a number out of its range.
            FloatingPointError: a loss term is not finite; names it and the step.
            CheckpointError: a checkpoint that is damaged or of another training.

        >>> from pyneural import nn, pde
        >>> from pyneural.training import LBFGS, Adam
        >>> burgers = pde.Burgers()
        >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range)
        >>> pinn = PINN(network, burgers.conditions(20), equation=burgers, points=50)
        >>> report = pinn.fit([Adam(10), LBFGS(10)], steps_per_epoch=5, progress=False,
        ...                   reference=burgers.test_grid())
        >>> len(report.history["error"]), report.step_history.names
        (4, ['initial', 'boundary', 'residual'])
        """
        batches = None if batch_size is None else self._point_batches(batch_size)
        first = [] if reference is None else [Reference(*reference)]
        trainer = Trainer(
            self,
            list(phases) if isinstance(phases, Sequence) else [phases],
            batches=batches,
            callbacks=[*first, *callbacks],
            steps_per_epoch=steps_per_epoch,
            checkpoint=checkpoint,
            every=every,
            time_limit=time_limit,
            progress=progress,
        )
        if resume:
            trainer.resume_if_possible()
        return trainer.fit()

    def begin_phase(self, index: int) -> None:
        """Draws new collocation points where the residual is large, if that is wanted."""
        if self.equation is not None and self.adaptive and index > 0:
            self.resample(adaptive=True)

    def resample(self, adaptive: bool) -> None:
        """Draws new collocation points, as many as there are, from the candidates or the domain.

        Args:
            adaptive: whether where the residual is large (``pde.residual_adaptive``), else by the
                sampling of the PINN.

        Raises:
            ValueError: there is no equation, or the points were given without candidates.
        """
        if self.equation is None:
            raise ValueError(
                "PINN.resample: equation: expected one, got None; without it there are no "
                "collocation points"
            )
        self.source.check_redraws("PINN.resample")
        count = len(self.collocation)
        if not adaptive:
            self.collocation = self.source.draw(count, self.collocation)
            return
        candidates = self.source.draw_at_most(_CANDIDATES * count, self.collocation)
        with torch.no_grad():
            parts = [self.equation.residuals(self._u, x) for x in candidates.split(_CHUNK)]
            residuals = torch.cat([torch.stack(part).square().sum(0).sqrt() for part in parts])
        self.collocation = residual_adaptive(candidates, residuals, count, generator=self.generator)

    @torch.no_grad()
    def predict(self, x: Any) -> Any:
        """Value u at points [N, D], however many, [N, O] in the network's dtype on its device.

        Points may be an array or frame, which gives an array. The columns are in the order of the
        domain; a frame with names of columns is read by these.

        Raises:
            ValueError: a frame that lacks a coordinate.
        """
        return of_arrays("PINN.predict", self, self._predict, self._columns_by_name(x))

    def _columns_by_name(self, x: Any) -> Any:
        """The coordinates of a frame in the order of the domain; anything else as it is."""
        columns = list(getattr(x, "columns", ()))
        if not columns or not all(isinstance(column, str) for column in columns):
            return x
        names = list(self.domain.names)
        remedy = "name its columns as the domain's coordinates, or give x.to_numpy()"
        good, expected = set(names) <= set(columns), f"the columns {', '.join(names)}"
        check(good, "PINN.predict: x", expected, ", ".join(columns), remedy)
        return x[names]

    def _predict(self, x: Tensor) -> Tensor:
        x = x.to(self.device, self.dtype)
        return torch.cat([self.network(chunk) for chunk in x.split(_CHUNK)])

    def relative_l2(self, x: Any, exact: Any) -> float:
        """Relative error |u(x) - exact|_2 / |exact|_2, the norms taken in float64.

        Args:
            x: points, [N, D].
            exact: solution there, [N, O].

        Raises:
            ValueError: shapes that do not match, or a solution that is zero everywhere.
        """
        predicted, exact = torch.as_tensor(self.predict(x)).double(), torch.as_tensor(exact)
        if predicted.shape != exact.shape:
            raise ValueError(
                f"PINN.relative_l2: exact: expected {list(predicted.shape)}, got "
                f"{list(exact.shape)}; give one row a point, one column an output"
            )
        exact = exact.to(predicted)
        norm = float(exact.norm())
        if norm == 0:
            raise ValueError(
                "PINN.relative_l2: exact: expected a solution that is not zero everywhere, got "
                "zeros; use the absolute error"
            )
        return float((predicted - exact).norm()) / norm

    def config(self) -> dict[str, Any]:
        """What a training resumed from a checkpoint must share with the one that wrote it."""
        description: dict[str, Any] = {
            "network": str(self.network),
            "dtype": str(self.dtype),
            "conditions": {
                name: f"{type(part).__name__} {_digest(part.buffers())}"
                for name, part in self.named_conditions()
            },
            "weights": dict(self.term_weights),
            "adaptive": self.adaptive,
        }
        if self.equation is None:
            return description
        points: dict[str, Any] = {"points": len(self.collocation), "sampling": self.sampling}
        if self.source.candidates is not None:
            points["candidates"] = _digest([self.source.candidates])
        return description | {"equation": _describe(self.equation)} | points

    def get_extra_state(self) -> Tensor:
        """State of the generator, for ``state_dict``."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Takes over the state of the generator, for ``load_state_dict``."""
        self.generator.set_state(state)

    @property
    def _u(self) -> Network:
        return cast(Network, self.network)

    def _point_batches(self, batch_size: int) -> TensorBatches:
        """Numbers of collocation points, in an order of its own each epoch."""
        if self.equation is None:
            raise ValueError(
                "PINN.fit: batch_size: expected None without an equation, as there are no "
                f"collocation points, got {batch_size}; leave it out"
            )
        check_count("PINN.fit: batch_size", batch_size, 1000)
        numbers = torch.arange(len(self.collocation), device=self.device)
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return TensorBatches(numbers, batch_size=batch_size, seed=seed)

    def _checked_weights(self, weights: Mapping[str, float]) -> dict[str, float]:
        names = [*self.conditions, *([RESIDUAL] if self.equation is not None else [])]
        for name, weight in weights.items():
            check(name in names, "PINN: weights", f"names of {', '.join(names)}", repr(name))
            good = math.isfinite(weight) and weight >= 0
            check(good, f"PINN: weights[{name!r}]", "a finite number >= 0", weight)
        return {name: float(weights.get(name, 1.0)) for name in names}


def _digest(tensors: Iterable[Tensor]) -> str:
    """The first digits of the SHA-256 sum of points and targets."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _describe(equation: Equation) -> str:
    numbers = [f"{name}={v!r}" for name, v in vars(equation).items() if isinstance(v, float)]
    return f"{type(equation).__name__}({', '.join(numbers)})"
