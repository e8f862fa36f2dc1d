"""L-BFGS, an iteration at a time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from pyneural.training.data.batches import Batch
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.objective import NonFiniteLossError, Objective
from pyneural.training.solvers.repeatable import check_repeatable
from pyneural.training.state.optimizer import load_optimizer

_LINE_SEARCH = 25  # evaluations in a line search at most; torch's own default


@dataclass(frozen=True)
class LBFGS(Phase):
    """Iterations of L-BFGS with strong Wolfe line search (Nocedal and Wright, 2006, 7.2 and 3.5).

    The loss is scaled to 1 at the start of the phase, so that the tolerances are relative to it.
    It is a method for all data at once: on batches, an iteration searches along a line of one
    batch, with the curvature of those before.

    Args:
        steps: number of iterations, >= 0.
        history_size: pairs of steps and gradient differences kept, >= 1.
        tolerance_grad: the phase ends when no element of the scaled gradient is larger.
        tolerance_change: it ends when neither the scaled loss nor any parameter changes more.
    """

    name: ClassVar[str] = "L-BFGS"

    steps: int
    history_size: int = 50
    tolerance_grad: float = 1e-9
    tolerance_change: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("history_size", self.history_size >= 1, "a whole number >= 1", whole=True)
        self.check("tolerance_grad", self.tolerance_grad >= 0, "a number >= 0")
        # The line search halves its bracket until it is this small.
        self.check("tolerance_change", self.tolerance_change > 0, "a number > 0")

    def begin(self, task: Task) -> Solver:
        """The solver, at the start."""
        return _LBFGSSolver(task, self)


@dataclass
class _Evaluation:
    """Scaled loss, gradients and terms at one point of the parameter space."""

    parameters: Tensor  # [P]
    gradients: list[Tensor | None]
    loss: float
    terms: list[float]


class _LBFGSSolver(Solver):
    """Makes iterations of ``torch.optim.LBFGS`` that equal those of one long ``step`` bit by bit.

    ``LBFGS.step`` makes many iterations, in which nothing can be saved or shown. Here each step
    is one iteration: its first evaluation, at the parameters where the last line search ended, is
    not made again but taken from the line search's evaluations. The tests for convergence, which
    ``LBFGS.step`` leaves out in its last iteration, are made here.

    The loss is multiplied by 1 / (loss at the start): ``LBFGS`` drops curvature pairs whose
    y . s is below 1e-10, which a loss of a well-trained network would always be.
    """

    def __init__(self, task: Task, phase: LBFGS) -> None:
        self.task, self.phase = task, phase
        self.objective = Objective(task.model, task.process_group)
        self.scale: float | None = None
        self._known: list[_Evaluation] = []
        self._batch: Batch = None  # type: ignore[assignment]
        self._begin()

    def step(self, batch: Batch) -> list[float]:
        """Makes one iteration; returns the loss terms where it ended, [K]."""
        self._batch = batch
        self._look_at_weights()
        if batch is not None:  # of which nothing was evaluated
            self._known = []
        if self.scale is None:
            total = self.objective.total(self._gradients(1.0))
            self.scale = 1 / total if total > 0 else 1.0
        try:
            self.optimizer.step(lambda: self._evaluation().loss)
        except NonFiniteLossError:
            if self._known:  # the first is that where the line search began
                vector_to_parameters(self._known[0].parameters, self.objective.parameters)
            raise
        end = self._evaluation()
        self._known = [end]
        self.reason = self._converged(end, self.optimizer.state[self.objective.parameters[0]])
        return end.terms

    def check_parameters(self) -> None:
        check_repeatable("LBFGS", self.task.model)

    def objective_changed(self) -> None:
        # Pairs of gradients of two different losses say nothing of either.
        self._known, self.scale = [], None
        self._begin()

    def _look_at_weights(self) -> None:
        """Begins anew where the weights of the loss have changed since the last iteration."""
        if self.objective.has_new_weights():
            self.objective_changed()
            self.objective.forget_weights()

    def close(self) -> None:
        self.objective.close()

    def state_dict(self) -> dict[str, Any]:
        self._look_at_weights()
        state = self.optimizer.state_dict()["state"]
        kept = {
            str(number): {key: value for key, value in entries.items() if key != "al"}  # scratch
            for number, entries in state.items()
        }
        return {**super().state_dict(), "optimizer": kept, "scale": self.scale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.scale = state["scale"]
        numbered = {int(number): entries for number, entries in state["optimizer"].items()}
        load_optimizer(self.optimizer, {**self.optimizer.state_dict(), "state": numbered})

    def _begin(self) -> None:
        self.optimizer = torch.optim.LBFGS(
            self.objective.parameters,
            max_iter=1,
            max_eval=1 + _LINE_SEARCH,
            tolerance_grad=self.phase.tolerance_grad,
            tolerance_change=self.phase.tolerance_change,
            history_size=self.phase.history_size,
            line_search_fn="strong_wolfe",
        )

    def _gradients(self, scale: float) -> list[float]:
        """Sets the gradients of scale times the loss; gives the terms."""
        terms = self.objective.gradients(self._batch, scale)
        self.names = self.objective.names
        return terms

    def _evaluation(self) -> _Evaluation:
        """Loss and gradients at the present parameters, computed unless they are known."""
        parameters = self.objective.parameters
        point = torch.cat([parameter.detach().view(-1) for parameter in parameters])
        for known in self._known:
            if torch.equal(known.parameters, point):
                for parameter, gradient in zip(parameters, known.gradients, strict=True):
                    parameter.grad = gradient
                return known
        scale = 1.0 if self.scale is None else self.scale
        terms = self._gradients(scale)
        self.evaluations += 1
        self.task.watch(terms, self.names)
        gradients = [parameter.grad for parameter in parameters]
        found = _Evaluation(point, gradients, scale * self.objective.total(terms), terms)
        self._known.append(found)
        return found

    def _converged(self, end: _Evaluation, state: dict[str, Any]) -> str | None:
        """Why there is nothing more to gain, in the order in which ``LBFGS.step`` asks."""
        tolerance_grad, tolerance_change = self.phase.tolerance_grad, self.phase.tolerance_change
        gradient = torch.cat([g.view(-1) for g in end.gradients if g is not None])
        if float(gradient.abs().max()) <= tolerance_grad:
            return f"converged: gradient below {tolerance_grad:g}"
        if "prev_loss" in state:
            step = float((state["d"] * state["t"]).abs().max())
            if step <= tolerance_change:
                return f"converged: step below {tolerance_change:g}"
            if abs(end.loss - state["prev_loss"]) < tolerance_change:
                return f"converged: change of the loss below {tolerance_change:g}"
        return None
