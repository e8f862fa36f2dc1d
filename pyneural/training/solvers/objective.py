"""The weighted sum of loss terms that is minimised, with its gradient."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from pyneural.training.checks import check
from pyneural.training.data.batches import Batch
from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup
from pyneural.training.evaluation import Values, as_numbers, finished
from pyneural.training.trainable import Trainable
from pyneural.training.weights import Weight, ascending, weighted_sum

REGULARIZATION = "regularization"  # the term that is minimised beside "loss"


class NonFiniteLossError(FloatingPointError):
    """A loss term became nan or infinite.

    Args:
        text: which one, and when.
        reason: what gave it; None if that is not known.
        kept: which weights the model has now.
    """

    def __init__(self, text: str, reason: str | None, kept: str) -> None:
        super().__init__(text)
        self.reason, self.kept = reason, kept


def clear_gradients(parameters: Iterable[Tensor]) -> None:
    """Sets the gradients to None."""
    for parameter in parameters:
        parameter.grad = None


class Objective:
    """Weighted sum of a model's loss terms as a function of its parameters.

        loss = sum_k weight_k term_k

    Its ``parameters`` are those that it is minimised over: weights that are parameters, over which
    it is maximised, are not among them, and their gradients have the other sign. All are averaged
    over the processes of ``process_group``.
    """

    def __init__(self, model: Trainable, process_group: ProcessGroup = SINGLE_PROCESS) -> None:
        self.model = model
        maximised = {id(parameter) for parameter in model.maximised()}
        self.parameters: list[Tensor] = [
            p for p in model.parameters() if p.requires_grad and id(p) not in maximised
        ]
        self._kind = type(model).__name__
        expected = "at least one parameter that requires a gradient"
        check(bool(self.parameters), self._kind, expected, "none", "set requires_grad_(True)")
        self.names: list[str] = []  # of the terms, once they are known
        self._minimised: list[str] = []
        self._weights: dict[str, Weight] | None = None
        self._learned: list[Weight] | None = None  # the weights, [K], where some are learned
        self._vector: Tensor | None = None  # of the weights, [K]; None for a single weight of 1
        self._process_group = process_group
        self._losses: Callable[[Batch], dict[str, Tensor]] | None = None

    def evaluate(
        self, batch: Batch, factor: float = 1.0, scale: Callable[[Tensor], Tensor] | None = None
    ) -> Values:
        """Adds the gradients of factor times the loss; gives the unweighted terms without graphs.

        ``scale`` changes what is differentiated, as for gradients in float16.
        """
        if self._losses is None:
            self._losses = self.model.losses
            if self._process_group.size > 1:  # gradients are averaged over the processes
                self._losses = nn.parallel.DistributedDataParallel(_Losses(self.model))
        losses = self._losses(batch)
        if self._weights is None or self.has_new_weights() or len(losses) != len(self.names):
            self._take_names(losses)
        if self._learned is not None:
            like = losses[self._minimised[0]]
            factors = map(ascending, self._learned)
            self._vector = torch.stack([torch.as_tensor(w).to(like) for w in factors])
        if self._vector is None:
            total = losses[self._minimised[0]]
            values: Values = [loss.detach() for loss in losses.values()]
        else:
            terms = torch.stack([losses[name] for name in self._minimised])
            total = torch.dot(terms, self._vector)
            whole = len(self._minimised) == len(losses)
            values = terms.detach() if whole else [loss.detach() for loss in losses.values()]
        if factor != 1.0:
            total = total * factor
        (total if scale is None else scale(total)).backward()
        return values

    def gradients(self, batch: Batch, factor: float = 1.0) -> list[float]:
        """Sets the gradients of factor times the loss; gives its terms, both of all processes."""
        clear_gradients(self.parameters)
        share = 1.0 if batch is None else batch.share
        (terms,) = as_numbers([self.evaluate(batch, factor * share)])
        terms = finished(self.model, self.names, terms)  # of this batch
        return self._process_group.mean(terms, share, self.parameters[0].device)

    def has_new_weights(self) -> bool:
        """Whether the weights of the model are others than in the last evaluation."""
        return self._weights is not None and self._weights != self.model.term_weights

    def forget_weights(self) -> None:
        """Takes the weights as they are in the next evaluation."""
        self._weights = None

    def total(self, values: Sequence[float]) -> float:
        """Weighted sum of terms."""
        return weighted_sum(self.model.term_weights, dict(zip(self.names, values, strict=True)))

    def one_exchange(self, last: bool) -> AbstractContextManager:
        """Context in which processes exchange gradients only for the last part of a batch."""
        wrapped = self._losses
        if not last and isinstance(wrapped, nn.parallel.DistributedDataParallel):
            return wrapped.no_sync()
        return nullcontext()

    def close(self) -> None:
        """Lets go of DistributedDataParallel."""
        self._losses = None

    def _take_names(self, losses: Mapping[str, Tensor]) -> None:
        names, weights = list(losses), self.model.term_weights
        expected, remedy = f"the terms {self.names}, as in the steps before", "give them each time"
        check(self.names in ([], names), f"{self._kind}.losses", expected, names, remedy)
        self.names, self._weights = names, dict(weights)
        where = f"{self._kind}.term_weights"
        for name in weights:
            check(name in losses, where, f"names of {', '.join(names)}", repr(name))
        given = {name: weights.get(name, 1.0) for name in names}
        self._minimised = [n for n, w in given.items() if isinstance(w, Tensor) or w != 0]
        lies = "loss" in names and set(self._minimised) - {"loss", REGULARIZATION} != set()
        got, remedy = f"'loss' beside {', '.join(self._minimised)}", "give that term another name"
        check(not lies, f"{self._kind}.losses", "'loss' to be the only term minimised", got, remedy)
        remedy = "leave out a weight to have 1"
        check(bool(self._minimised), where, "one that is not 0", self._weights, remedy)
        factors = [given[name] for name in self._minimised]
        self._learned = factors if any(isinstance(w, Tensor) for w in factors) else None
        if self._learned is None:
            like, alone = losses[self._minimised[0]], factors == [1.0]
            self._vector = None if alone else like.new_tensor([float(w) for w in factors])


class _Losses(nn.Module):
    """The losses as a forward pass, which is what DistributedDataParallel takes."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.model.losses(batch)
