"""Losses under the names that Keras gives them, as functions of prediction and target.

The arguments stand in torch's order, (prediction, y), for pyneural's losses, torch's and a user's
own alike. A loss gives one number for each element or sample, [N, ...]; ``Loss`` takes their mean.
Class probabilities are kept within [EPSILON, 1 - EPSILON] before a logarithm, as Keras does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural import ops
from pyneural.training.checks import check, look_up

EPSILON = 1e-7  # Keras's backend.epsilon()

LossFunction = Callable[[Tensor, Tensor], Tensor]
Function = TypeVar("Function", bound=Callable[..., Tensor])
LOSSES: dict[str, LossFunction] = {}  # by their names in full
NAMES: dict[str, str] = {}  # the name in full of each, by the short ones, too


def _named(*short: str) -> Callable[[Function], Function]:
    """Enters a loss in the tables."""

    def enter(loss: Function) -> Function:
        LOSSES[loss.__name__] = loss
        NAMES.update(dict.fromkeys((loss.__name__, *short), loss.__name__))
        return loss

    return enter


@_named("mse")
def mean_squared_error(prediction: Tensor, y: Tensor) -> Tensor:
    """(a - y)^2 of each element."""
    return F.mse_loss(prediction, y, reduction="none")


@_named("mae")
def mean_absolute_error(prediction: Tensor, y: Tensor) -> Tensor:
    """|a - y| of each element."""
    return (prediction - y).abs()


@_named("msle")
def mean_squared_logarithmic_error(prediction: Tensor, y: Tensor) -> Tensor:
    """(log(1 + a) - log(1 + y))^2 of each element; what is below 0 counts as 0.

    >>> mean_squared_logarithmic_error(torch.tensor([-5.0]), torch.tensor([0.0])).item()
    0.0
    """
    a, target = prediction.clamp(min=EPSILON), y.clamp(min=EPSILON)
    return F.mse_loss(a.log1p(), target.log1p(), reduction="none")


@_named()
def quadratic_cost(prediction: Tensor, y: Tensor) -> Tensor:
    """C = 1/2 |y - a|^2 = 1/2 sum_j (y_j - a_j)^2 of each sample (Nielsen, 2015, ch. 1).

    >>> quadratic_cost(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([2.5000])
    """
    return 0.5 * F.mse_loss(prediction, y, reduction="none").flatten(1).sum(1)


@_named("bce")
def binary_crossentropy(prediction: Tensor, y: Tensor) -> Tensor:
    """-y log p - (1 - y) log(1 - p) of each element, from probabilities.

    >>> binary_crossentropy(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 1.0]))
    tensor([ 0.6931, 16.1181])
    """
    # On a CPU these logarithms take less than half the time of those in F.binary_cross_entropy.
    p = prediction.clamp(EPSILON, 1 - EPSILON)
    return torch.lerp(torch.log1p(-p), p.log(), y).neg()


@_named()
def categorical_crossentropy(prediction: Tensor, y: Tensor) -> Tensor:
    """-sum_k y_k log p_k of each sample, p and the target y being probabilities, [..., K].

    >>> categorical_crossentropy(torch.tensor([[0.25, 0.75]]), torch.tensor([[1.0, 0.0]])).item()
    1.386...
    """
    return -(y * _log_probabilities(prediction)).sum(-1)


@_named()
def sparse_categorical_crossentropy(
    prediction: Tensor, y: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """-log p_y of each sample, p being probabilities, [..., K], and y whole numbers, [...].

    With ``label_smoothing`` s, in [0, 1], it is (1 - s) times that and s times the mean of
    -log p_k: a network then has no reason to be ever surer (Szegedy et al., arXiv:1512.00567).

    >>> sparse_categorical_crossentropy(torch.tensor([[0.25, 0.75]]), torch.tensor([0])).item()
    1.386...
    """
    log_p = _log_probabilities(prediction)
    loss = -log_p.gather(-1, y.long().unsqueeze(-1)).squeeze(-1)
    return torch.lerp(loss, -log_p.mean(-1), label_smoothing) if label_smoothing else loss


@_named("kld", "kl_divergence")
def kullback_leibler_divergence(prediction: Tensor, y: Tensor) -> Tensor:
    """sum_k y_k log(y_k / p_k) of each sample, both being probabilities, [..., K].

    >>> kullback_leibler_divergence(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, 0.5]])).item()
    0.0
    """
    p, target = prediction.clamp(EPSILON, 1), y.clamp(EPSILON, 1)
    return (target * (target / p).log()).sum(-1)


@_named()
def hinge(prediction: Tensor, y: Tensor) -> Tensor:
    """max(0, 1 - y a) of each element, y being -1 or 1; labels 0 and 1 become -1 and 1.

    >>> hinge(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]))
    tensor([1.5000, 0.5000])
    """
    zero_one = ((y == 0) | (y == 1)).all()
    return (1 - torch.where(zero_one, 2 * y - 1, y) * prediction).clamp(min=0)


def _log_probabilities(p: Tensor) -> Tensor:
    # Outputs that do not sum to 1, as those of N sigmoids, are scaled to do so, as Keras does.
    return (p / p.sum(-1, keepdim=True)).clamp(EPSILON, 1 - EPSILON).log()


# The same means in one pass, for batches without weights.
_MEANS: dict[str, LossFunction] = {"mean_squared_error": ops.mse_loss}
# Losses of torch that would broadcast where the shapes differ.
_ELEMENTWISE = {
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss",
    "PoissonNLLLoss", "KLDivLoss", "SoftMarginLoss", "MultiLabelSoftMarginLoss",
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "poisson_nll_loss", "kl_div", "soft_margin_loss",
    "multilabel_soft_margin_loss",
}  # fmt: skip
_DIVIDED_BY_WEIGHTS = {"CrossEntropyLoss", "NLLLoss", "cross_entropy", "nll_loss"}
_IGNORED = -100  # torch's ignore_index
SAME, CLASSES, ANY = "same", "classes", "any"  # shape of y: as the prediction, [...] of [..., K]


@dataclass(frozen=True)
class Loss:
    """A loss with its name and the shape of target that it asks for.

        loss = 1/N sum_i w_i l_i,   l_i the mean of the function's values for sample i

    As in Keras, the sum is divided by the number of samples, not by the sum of the weights.

    Args:
        name: for messages.
        function: of prediction and y; gives [N, ...], or [] where it takes a mean itself.
        target: SAME, CLASSES or ANY.
        mean: of prediction and y, the mean of what the function gives, if it can be had faster.

    >>> loss = Loss.of("mse")
    >>> loss(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 4.0])).item()
    2.5
    """

    name: str
    function: LossFunction
    target: str
    mean: LossFunction | None = None

    @staticmethod
    def of(loss: str | LossFunction) -> "Loss":
        """A loss from a name or a function (or module) of prediction and y."""
        if isinstance(loss, str):
            name = look_up("compile: loss", loss, NAMES)
            target = CLASSES if name == "sparse_categorical_crossentropy" else SAME
            return Loss(name, LOSSES[name], target, _MEANS.get(name))
        expected = "a name or a function of prediction and y"
        remedy = "write 'mean_squared_error' or torch.nn.MSELoss()"
        if isinstance(loss, type):
            got = f"the class {loss.__name__}"
            check(False, "compile: loss", expected, got, f"write {loss.__name__}()", TypeError)
        check(callable(loss), "compile: loss", expected, repr(loss), remedy, TypeError)
        given = loss.func if isinstance(loss, partial) else loss
        name = getattr(given, "__name__", type(given).__name__)
        if name == "sparse_categorical_crossentropy":
            return Loss(name, loss, CLASSES)
        same = name in _ELEMENTWISE or name in LOSSES
        return Loss(NAMES.get(name, name), loss, SAME if same else ANY)

    def align(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Y in the shape that the loss asks for: (N,) and (N, 1) are the same, no other two are.

        Others would broadcast and are a ValueError; what a user's own function makes of two shapes
        is left to it.
        """
        wanted = prediction.shape[:-1] if self.target == CLASSES else prediction.shape
        y = align_column(wanted, y)
        if self.target == ANY or y.shape == wanted:
            return y
        raise ValueError(
            f"{self.name}: y: expected shape {tuple(wanted)} for a prediction of shape "
            f"{tuple(prediction.shape)}, got {tuple(y.shape)}; {self._remedy(prediction, y)}"
        )

    def __call__(self, prediction: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean loss of a batch, [], of predictions [N, ...], y (see ``align``) and weights [N].

        Raises:
            ValueError: shapes that do not match, or weights with a loss that gives no [N, ...].
        """
        if not (isinstance(prediction, Tensor) and isinstance(y, Tensor)):
            return self._of_several(prediction, y, weight)
        if prediction.dtype in (torch.float16, torch.bfloat16):
            prediction = prediction.float()
        y = self.align(prediction, y)
        if weight is None and self.mean is not None:
            return self.mean(prediction, y)
        values = self.function(prediction, y)
        if weight is None:
            return values.mean() if values.dim() else values
        if values.dim() == 0 or len(values) != len(weight):
            raise ValueError(
                f"{self.name}: expected a loss of each sample, as there are weights, got shape "
                f"{tuple(values.shape)}; give it reduction='none'"
            )
        if weight.dim() > 1:  # of each step, or element
            good, remedy = values.shape[: weight.dim()] == weight.shape, "give one weight a sample"
            got = f"{tuple(weight.shape)} for {tuple(values.shape)}"
            check(good, f"{self.name}: weight", "the shape of the loss's values", got, remedy)
            values = (
                values.flatten(weight.dim()).mean(-1) if values.dim() > weight.dim() else values
            )
            return values.mul(weight).mean()
        return (values.flatten(1).mean(1) if values.dim() > 1 else values).mul(weight).mean()

    def check_parts(self, where: str) -> None:
        """ValueError for a loss of torch that is not the mean of its values for parts of a batch.

        It is a sum, or is divided by the weights of the classes that there are. What a function of
        the user's own returns is taken for a mean.
        """
        reduction, weights = self._option("reduction"), self._option("weight")
        expected = f"1, unless {self.name} is a mean over the samples"
        remedy = "write reduction='none', of which the mean is taken"
        check(reduction != "sum", where, expected, "a sum of them", remedy)
        weighted = self.name in _DIVIDED_BY_WEIGHTS and weights is not None
        got, remedy = "weights of classes that it is divided by", "give fit class_weight instead"
        check(reduction == "none" or not weighted, where, expected, got, remedy)

    def check_ignored(self, where: str, y: Any) -> None:
        """ValueError for targets that a loss of torch leaves out, and divides by the others.

        Parts of a batch that leave out different numbers of them have no mean that is the batch's.
        """
        if self.name not in _DIVIDED_BY_WEIGHTS or self._option("reduction") in ("none", "sum"):
            return
        index = self._option("ignore_index")
        index = _IGNORED if index is None else index
        if not isinstance(y, Tensor) or y.is_floating_point() or not bool((y == index).any()):
            return
        expected, got = f"1, unless {self.name} is a mean over the samples", f"y that is {index}"
        remedy = "write reduction='none', of whose values for all samples the mean is taken"
        check(False, where, expected, f"one over those that are not ignored, {got}", remedy)

    def _option(self, name: str) -> Any:
        """What a module or a partial function was given under a name."""
        options = self.function.keywords if isinstance(self.function, partial) else {}
        return options.get(name, getattr(self.function, name, None))

    @property
    def curves(self) -> list[str]:
        """Names of what ``terms`` gives."""
        return ["loss"]

    def terms(self, prediction: Any, y: Any, weight: Tensor | None = None) -> dict[str, Tensor]:
        """The loss by its name."""
        return {"loss": self(prediction, y, weight)}

    def _of_several(self, prediction: Any, y: Any, weight: Tensor | None) -> Tensor:
        """Of several outputs, which a function of the user's own alone can put together."""
        got = f"{type(prediction).__name__} and {type(y).__name__}"
        remedy = "give a function of (prediction, y) that sums the losses of its parts"
        good = self.target == ANY and weight is None
        where, expected = f"{self.name}: prediction and y", "tensors, as there is one loss"
        check(good, where, expected, got, remedy, TypeError)
        return self.function(prediction, y)

    def _remedy(self, prediction: Tensor, y: Tensor) -> str:
        classes_given = y.shape == prediction.shape[:-1] or y.shape == (*prediction.shape[:-1], 1)
        if self.name == "categorical_crossentropy" and classes_given:
            return "for whole numbers of classes use sparse_categorical_crossentropy"
        if self.target == CLASSES and y.shape == prediction.shape:
            return "for one-hot targets use categorical_crossentropy"
        return "give the last layer as many units as y has columns"


def align_column(shape: torch.Size, y: Tensor) -> Tensor:
    """Y in a shape where that is (N,) and y (N, 1), or the reverse, which would broadcast."""
    column = y.shape != shape and (y.shape == (*shape, 1) or (*y.shape, 1) == shape)
    return y.reshape(shape) if column else y
