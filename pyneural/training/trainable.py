"""The contract between a model and the engine that trains it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn
from typing_extensions import Self

from pyneural.training.data.batches import Batch
from pyneural.training.paths import check_file
from pyneural.training.state.file import load_weights, save_checkpoint
from pyneural.training.structure import freeze
from pyneural.training.weights import ascending


class Minimiser(Protocol):
    """What ``training_step`` is given to change the parameters with."""

    def minimise(self, loss: Tensor, part: str | None = None) -> None:
        """Gradient of a loss for the parameters of an optimiser, and its step."""


class Trainable(nn.Module):
    """A module that says what there is to minimise; all else is the engine's.

    To train something that does not exist yet, write a subclass with ``losses``:

        loss = sum_k w_k losses(batch)[k],   w_k = term_weights.get(k, 1)

    and give it to a ``Trainer``, with the phases of the training and, unless a step takes all data
    at once, with batches. Progress, curves, callbacks, checkpoints that are resumed bit for bit,
    a time limit, Ctrl-C and torchrun then work as they do for every other model. A quantity of
    weight 0 is measured and not minimised, as an accuracy. ``term_weights`` may change at any time;
    over a weight that is a parameter of the model the loss is maximised.

    Where a step is more than the gradient of one sum, write ``training_step``: see there for two
    optimisers in turn. Where it is no gradient step at all, as for a second-order method, write a
    ``solvers.Solver`` and its ``Phase``.

    Everything that training changes must be in the ``state_dict``: parameters, buffers, and
    generators or counters by ``get_extra_state``, which gives a tensor.

    >>> import torch
    >>> from pyneural.training import Adam, TensorBatches, Trainer
    >>> class Circle(Trainable):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.radius = nn.Parameter(torch.ones(()))
    ...         self.term_weights = {"size": 1e-4}
    ...
    ...     def losses(self, batch):
    ...         distance = batch.x.norm(dim=1) - self.radius
    ...         return {"distance": distance.square().mean(), "size": self.radius.square()}
    >>> x = 2 * nn.functional.normalize(torch.randn(64, 2))
    >>> circle = Circle()
    >>> report = Trainer(
    ...     circle, [Adam(200, lr=0.1)], batches=TensorBatches(x, batch_size=16), progress=False
    ... ).fit()
    >>> round(circle.radius.item(), 2), list(report.history.history)
    (2.00, ['loss', 'distance', 'size'])
    """

    term_weights: dict[str, Any]  # numbers, and parameters

    def __init__(self) -> None:
        super().__init__()
        self.term_weights = {}

    @property
    def trainable(self) -> bool:
        """Whether any parameter is trained; Keras's way to say so for all of them at once."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether the parameters are trained, those that are still to be made included."""
        freeze(self, requires_grad)
        return self

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms of the loss by name, [] each; the same names in the same order always.

        Args:
            batch: samples; None where each step takes all data.
        """
        kind, expected = type(self).__name__, "a method losses(batch) -> dict of tensors"
        raise NotImplementedError(f"{kind}: expected {expected}, got none; write one")

    def least_squares(self, batch: Batch) -> dict[str, Any]:
        """The terms of ``losses`` before they are summed, for solvers of second order.

        Each is a function of no arguments that gives its residuals r [R] with their graph, of
        which the term is the sum of squares, or an ``ops.MeanSquare``, which a kernel computes:

            def least_squares(self, batch):
                return {"distance": lambda: self.distances(batch) / len(batch.x) ** 0.5}
        """
        kind, expected = type(self).__name__, "a method least_squares(batch) -> dict of residuals"
        remedy = "write one, where each term is a sum of squares; or take Adam or LBFGS"
        raise NotImplementedError(f"{kind}: expected {expected}, got none; {remedy}")

    def part_of_data(self, rank: int, size: int) -> Batch | None:
        """What a process takes where several make a step of all data; None: all, as the others.

        A part of its own, with its ``share``, makes the step faster: for solvers of least squares.
        """
        return None

    def metric(self, name: str, mean: Sequence[float]) -> float:
        """A quantity for which ``losses`` gives several numbers, [K], from their mean over a pass.

        So are measured what is no mean over the samples itself, as the root of a mean square.
        """
        kind, expected = type(self).__name__, f"one number for {name!r}"
        got = f"{len(mean)} of them"
        raise ValueError(f"{kind}.losses: expected {expected}, got {got}; write the method metric")

    def quantities(self) -> list[str] | None:
        """Names of the curves of a pass; None where they are known after its first step."""
        return None

    def training_step(self, batch: Batch, solver: Minimiser) -> dict[str, Tensor]:
        """One update of the parameters; gives the quantities that are recorded.

        This is what happens unless a subclass says otherwise. A generator and a discriminator that
        makes three steps for one of the generator are

            for _ in range(3):
                d = discriminator_loss(batch.x)
                solver.minimise(d, "discriminator")
            g = generator_loss()
            solver.minimise(g, "generator")
            return {"discriminator": d, "generator": g}

        with ``Descent({"discriminator": "adam", "generator": "adam"}, steps=1000)`` as the phase,
        whose names are those of submodules.
        """
        losses = self.losses(batch)
        weights = {name: self.term_weights.get(name, 1.0) for name in losses}
        terms = [ascending(weights[name]) * term for name, term in losses.items() if weights[name]]
        solver.minimise(sum(terms[1:], start=terms[0]))
        return losses

    def maximised(self) -> Sequence[nn.Parameter]:
        """Parameters over which the loss is maximised; L-BFGS, which descends, leaves them out."""
        return [w for w in self.term_weights.values() if isinstance(w, nn.Parameter)]

    def parts(self, batch: Batch) -> dict[str, list[Tensor]]:
        """Unweighted terms of the loss, each in the parts that may have a weight of their own.

        Callbacks that balance weights ask for them; a term is one part unless a model says more.
        """
        return {name: [term] for name, term in self.losses(batch).items()}

    def part_weights(self) -> dict[str, list[float | str]]:
        """Weights of the parts by term: numbers, or the kind of those that change by themselves.

        One number stands for all parts of its term; a term that is left out has weight 1.
        """
        return {
            name: ["learned" if isinstance(weight, Tensor) else float(weight)]
            for name, weight in self.term_weights.items()
        }

    def weigh_parts(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Gives the parts of terms other weights, in their order."""
        for name, (weight,) in weights.items():
            self.term_weights[name] = weight

    def shared_parameters(self) -> list[nn.Parameter]:
        """Trained parameters that all terms depend on, whose gradients balance their weights."""
        own = {id(weight) for weight in self.maximised()}
        return [p for p in self.parameters() if p.requires_grad and id(p) not in own]

    def explain_nonfinite(self, name: str, batch: Batch) -> str | None:
        """What makes a term nan or infinite with the weights as they are; None if unknown."""
        return None

    def own_callbacks(self) -> Sequence[Any]:
        """Callbacks of the model itself, which each training has before those of the user."""
        return ()

    def begin_phase(self, index: int) -> None:
        """Called before each phase; may change the problem, as by drawing new points."""

    def title(self, name: str) -> str:
        """What a term is called in messages."""
        return name

    def config(self) -> dict[str, Any]:
        """What a resumed training must have in common with the first one, in JSON's types."""
        return {"weights": {name: list(v.shape) for name, v in self.state_dict().items()}}

    def architecture(self) -> dict[str, Any] | None:
        """What ``load_model`` makes the layers from; None where it takes code to make them."""
        return None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights, and the layers of a ``Sequential``, to a safetensors file.

        A missing folder is made. ValueError where a layer cannot be described, OSError where the
        file cannot be written, or the path is that of a folder.
        """
        check_file(path, "save: path")
        record = {"model": type(self).__name__, "config": self.architecture()}
        save_checkpoint(path, self.state_dict(), record)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes over the weights that ``save`` wrote; CheckpointError where they are another's."""
        load_weights(self, path)
