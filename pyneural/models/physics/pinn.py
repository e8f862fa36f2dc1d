"""Physics-informed neural network: data and an equation in one loss."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from pyneural.models.physics.balanced import Balanced
from pyneural.models.physics.checks import (
    RESIDUAL,
    check_conditions,
    check_inputs_agree,
    check_network_and_equation,
    check_pairing,
    check_points,
    settle_unknowns,
)
from pyneural.models.physics.default_phases import default_phases
from pyneural.models.physics.description import describe_training
from pyneural.models.physics.point_source import PointSource
from pyneural.models.physics.posterior import Inferring
from pyneural.models.physics.prediction import Predicting
from pyneural.models.physics.reference import Reference, relative_l2
from pyneural.models.physics.squares import Squares, squares
from pyneural.models.physics.warm_start import WarmStart, warm_start
from pyneural.models.physics.weights import FollowSteps, Weights
from pyneural.pde import Causal, Condition, Domain, Equation, Hard, Network
from pyneural.pde.coordinates import given_points
from pyneural.pde.nonfinite import first_nonfinite
from pyneural.training import Batch, Phase, TensorBatches, Trainer, TrainingReport
from pyneural.training.callback import check_callbacks
from pyneural.training.callbacks import Callback, Resample
from pyneural.training.checks import check, check_count
from pyneural.training.distributed import ProcessGroup


class PINN(Predicting, Inferring, Balanced):
    """A network that is trained to meet conditions and an equation.

        loss = sum_c w_c mean_n |u(x_n) - u_n|^2  +  w_r mean_n r(x_n)^2

    (Raissi, Perdikaris and Karniadakis, 2019): a term for each condition c, on its own points, and
    the term "residual" with the residual r of the equation on collocation points inside the domain.
    Without an equation it is a network trained on the data alone.

    Weights, collocation points with theirs, and the generator's state are in the ``state_dict``.

    Args:
        network: gives u(x) and its jets: ``nn.MLP``, ``pde.Hard``.
        conditions: by name; may be empty only for a ``pde.Hard`` network, which has them built in.
        equation: None for a network on data alone.
        domain: of the points, as ``pde.Box`` or ``pde.Disk``; by default the equation's own.
        points: how many collocation points to draw, or the points, [N, D], which stay as they are:
            a tensor, an array or lists of numbers, or a frame.
        candidates: points [M, D], likewise, that collocation points are taken from, then and later;
            None for all of the domain.
        sampling: how they are drawn from the domain, one of ``pde.SAMPLINGS``.
        adaptive: whether each phase of training but the first begins with new collocation points,
            drawn where the residual is large (``PINN.resample``).
        weights: of loss terms by name, 1 where not given; later ``pinn.weights``. They are numbers
            >= 0, functions of the number of steps done, or ``torch.nn.Parameter(torch.ones(()))``,
            over which the loss is maximised, so that it grows where a term stays large
            (self-adaptive weights, McClenny and Braga-Neto, arXiv:2009.04544). A tensor [N], or a
            parameter, as in that paper, has one for each point of a term; the points are then not
            drawn anew. For a system that of "residual" may be a tuple, one for each equation.
            Adam and ``Descent`` alone change learned weights; L-BFGS begins anew where another one
            changes.
        causal: lets the residual fall from early to late times, see ``pde.Causal``; None for no
            such weights.
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

    def __init__(
        self,
        network: torch.nn.Module,
        conditions: Mapping[str, Condition],
        *,
        equation: Equation | None = None,
        domain: Domain | None = None,
        points: Any = 10_000,
        candidates: Any = None,
        sampling: str = "lhs",
        adaptive: bool = False,
        weights: Mapping[str, Any] | None = None,
        causal: Causal | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_network_and_equation(network, equation)
        self.network, self.equation = network, equation
        found: Any = getattr(equation, "domain", None) if domain is None else domain
        check(
            isinstance(found, Domain), "PINN: domain", "a domain", type(found).__name__,
            "give domain=pde.Box(t=(0, 1), x=(-1, 1)), or an equation that has one",
        )  # fmt: skip
        self.domain: Domain = found
        self.adaptive, self.sampling, self.causal = adaptive, sampling, causal
        self.generator = generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        check_conditions(conditions, isinstance(network, Hard) and equation is not None)
        check_inputs_agree(network, conditions, equation, found)
        like = next(network.parameters())
        if causal is not None:
            timed = equation is not None and found.has_time
            expected, got = "an equation on a domain with a coordinate t", f"{equation}, {found}"
            check(timed, "PINN: causal", expected, got, "leave it out")
            causal.to(like)
        for name, condition in conditions.items():
            check_points(condition.points, f"conditions[{name!r}]", found, like)
        self.conditions = torch.nn.ModuleDict(dict(conditions))
        points = given_points("PINN: points", points, found.names)
        candidates = given_points("PINN: candidates", candidates, found.names)
        given = isinstance(points, Tensor)
        self.source = PointSource(found, sampling, self.generator, candidates, given)
        if equation is not None:
            if candidates is not None:
                check_points(candidates, "candidates", found, like)
            if adaptive:
                self.source.check_redraws("PINN: adaptive")
            if given:
                check_points(points, "points", found, like)
                drawn = points.detach().clone()
            else:
                drawn = self.source.draw(points, like)
            self.register_buffer("collocation", drawn)
            self.register_buffer("collocation_weights", None)
            self.first_count = len(drawn)
        self.learned_weights = torch.nn.ParameterDict()
        names = [*self.conditions, *([RESIDUAL] if equation is not None else [])]
        counted = None if equation is None else (RESIDUAL, self._count_equations)
        self._weights = Weights(
            self.term_weights, names, self.learned_weights, counted, self._count_points
        )
        settle_unknowns(self)
        if equation is not None and not given:
            with torch.no_grad():
                check_pairing(equation, network, self.collocation)
        self._weights.update(weights or {})

    @property
    def dtype(self) -> torch.dtype:
        """The network's."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The network's."""
        return next(self.network.parameters()).device

    @property
    def weights(self) -> MutableMapping[str, Any]:
        """Those of the loss terms, by name; may be changed during training.

        >>> from pyneural import nn, pde
        >>> burgers = pde.Burgers()
        >>> pinn = PINN(nn.MLP(2, [8], 1), burgers.conditions(20), equation=burgers, points=50)
        >>> pinn.weights["initial"] = 100
        >>> pinn.weights["boundary"] = lambda step: 1 + step / 1000
        >>> pinn.weights["residual"] = torch.nn.Parameter(torch.tensor(1.0))
        >>> [name for name, _ in pinn.named_parameters()][-1]
        'learned_weights.residual'
        """
        return self._weights

    @weights.setter
    def weights(self, weights: Mapping[str, Any]) -> None:
        self._weights.update(weights)

    def own_callbacks(self) -> Sequence[Callback]:
        """One that tells the weights the step."""
        return [FollowSteps()]

    def maximised(self) -> Sequence[torch.nn.Parameter]:
        """The weights that are parameters."""
        return list(self.learned_weights.values())

    def losses(self, batch: Batch | None = None) -> dict[str, Tensor]:
        """Unweighted loss terms, []: the conditions by their names, then "residual".

        In that single equations of a system and single points have their weights, if they have any,
        and points drawn where the residual is large have those of ``resample``.

        Args:
            batch: its x are the numbers of the collocation points to take; None takes all.
        """
        return {
            name: owner.loss(*given, **inside) for name, owner, given, inside in self._asked(batch)
        }

    def least_squares(self, batch: Batch | None = None) -> Squares:
        """The terms of ``losses`` before they are summed, for ``training.least_squares``.

        >>> from pyneural import nn, pde
        >>> burgers = pde.Burgers()
        >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range)
        >>> pinn = PINN(network, burgers.conditions(20), equation=burgers, points=50)
        >>> {name: type(term).__name__ for name, term in pinn.least_squares().items()}
        {'initial': 'MeanSquare', 'boundary': 'MeanSquare', 'residual': 'MeanSquare'}
        """
        return squares(self._asked(batch))

    def _asked(self, batch: Batch | None) -> list[tuple[str, Any, tuple, dict[str, Any]]]:
        """Each term's name, its equation or condition, and the arguments of its loss."""
        found: list[tuple[str, Any, tuple, dict[str, Any]]] = [
            (name, condition, (self._u,), self._weights.inside(name))
            for name, condition in self.named_conditions()
        ]
        if self.equation is not None:
            given, weights = (self._u, self.collocated(batch)), self.residual_weights(batch)
            found.append((RESIDUAL, self.equation, given, weights))
        return found

    def explain_nonfinite(self, name: str, batch: Batch | None) -> str | None:
        """The operation in the equation or condition that is not finite, and where."""
        if name != RESIDUAL:
            condition = dict(self.named_conditions())[name]
            return first_nonfinite(lambda: condition.residuals(self._u), {})
        equation = cast(Equation, self.equation)
        return equation.explain_nonfinite(self._u, self.collocated(batch))

    def fit(
        self,
        phases: Phase | Sequence[Phase] | None = None,
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
            phases: ``[Adam(1000), LBFGS(5000)]``; None for those of ``default_phases``: in float64
                Levenberg-Marquardt, by conjugate gradients from 5,000 parameters on, with new
                points every ten steps where the residual is large; else Adam and L-BFGS, on
                batches Adam alone.
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
            FloatingPointError: a loss term is not finite; names it, the step and the operation, as
                u ** 1.2 of a negative u. The weights are then the last finite ones.
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
        check_callbacks("PINN.fit", callbacks)
        if phases is None:
            in_batches = batch_size is not None
            phases, more = default_phases(self, in_batches=in_batches, callbacks=callbacks)
            callbacks = [*callbacks, *more]
        if (self.adaptive and isinstance(phases, Sequence) and len(phases) > 1) or any(
            isinstance(callback, Resample) for callback in callbacks
        ):
            self._check_redraws("PINN.fit")
        group = ProcessGroup.join(self)
        if group.size > 1:  # all processes draw the points of the first one
            seed = int(torch.randint(2**62, (), generator=self.generator))
            self.generator.manual_seed(group.from_first(seed, self.device))
            self.share_points(group)
        batches = None if batch_size is None else self._point_batches(batch_size, group)
        first = [] if reference is None else [Reference.checked(self, reference)]
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
        self.in_batches = batches is not None
        try:
            return trainer.fit()
        finally:
            self.in_batches = False

    def warm_start(
        self, source: PINN | str | os.PathLike[str], parts: Sequence[str] = ("network",)
    ) -> WarmStart:
        """Takes over the weights of another PINN, whose points, conditions or equation may differ.

        The equation's constants, points, conditions and weights of the loss stay the PINN's own: so
        begins a training for another viscosity, with the solution for the last one.

        Args:
            source: the PINN, or a file that ``save`` or a training's ``checkpoint`` wrote.
            parts: what is taken, some of "network", "equation" (its unknowns), "conditions"
                (theirs) and "learned_weights".

        Returns:
            what was taken over and what was kept; ``print`` it.

        Raises:
            ValueError: an unknown part, or one that has nothing to take over.
            CheckpointError: tensors of other names or shapes, or a file that is damaged.

        >>> from pyneural import nn, pde
        >>> def pinn(nu, points):
        ...     burgers = pde.Burgers(nu)
        ...     network = nn.MLP(2, [8], 1, input_range=burgers.domain.range)
        ...     return PINN(network, burgers.conditions(20), equation=burgers, points=points)
        >>> print(pinn(0.01, 50).warm_start(pinn(0.02, 40)))
        taken over: network, 37 numbers in 6 tensors
        kept: equation Burgers(nu=0.01), in the source Burgers(nu=0.02)
        kept: collocation [50, 2], in the source [40, 2]
        """
        return warm_start(self, source, parts)

    def relative_l2(self, x: Any, exact: Any) -> float:
        """Relative error |u(x) - exact|_2 / |exact|_2, the norms taken in float64.

        Args:
            x: points, [N, D].
            exact: solution there, [N, O]; NaN where it is not known.

        Raises:
            ValueError: shapes that do not match, or a solution that is zero or NaN everywhere.
        """
        return relative_l2(torch.as_tensor(self.predict(x)), torch.as_tensor(exact))

    def config(self) -> dict[str, Any]:
        """What a training resumed from a checkpoint must share with the one that wrote it."""
        return describe_training(self, self._weights.described())

    def _count_points(self, name: str) -> int:
        return (
            len(self.collocation) if name == RESIDUAL else dict(self.named_conditions())[name].count
        )

    def _count_equations(self) -> int:
        equation = cast(Equation, self.equation)
        return len(equation.residuals(self._u, self.collocation))

    @property
    def _u(self) -> Network:
        return cast(Network, self.network)

    def _point_batches(self, batch_size: int, group: ProcessGroup) -> TensorBatches:
        """Numbers of collocation points, in an order of its own each epoch."""
        if self.equation is None:
            raise ValueError(
                "PINN.fit: batch_size: expected None without an equation, as there are no "
                f"collocation points, got {batch_size}; leave it out"
            )
        check_count("PINN.fit: batch_size", batch_size, 1000)
        numbers = torch.arange(len(self.collocation), device=self.device)
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return TensorBatches(numbers, None, None, batch_size, seed, group)
