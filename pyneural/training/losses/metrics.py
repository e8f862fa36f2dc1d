"""Metrics by Keras's names: means over the samples, beside the loss."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pyneural.training.checks import check, look_up
from pyneural.training.losses.functions import NAMES, Loss, align_column

MetricFunction = Callable[[Tensor, Tensor], Tensor]


def accuracy(prediction: Tensor, y: Tensor, threshold: float = 0.5) -> Tensor:
    """Share of samples whose class is right, [].

    The class is the largest of several outputs, or whether a single output is above the threshold.

    Args:
        prediction: [N, K], or [N, 1] or [N] of two classes.
        y: whole numbers, [N] or [N, 1], or one-hot, [N, K].
        threshold: 0.5 for probabilities, 0 for logits and for labels -1 and 1.

    >>> import torch
    >>> accuracy(torch.tensor([[0.2, 0.8], [0.7, 0.3]]), torch.tensor([1, 1])).item()
    0.5
    >>> accuracy(torch.tensor([[0.2], [0.7]]), torch.tensor([0.0, 1.0])).item()
    1.0
    """
    if prediction.dim() < 2 or prediction.shape[-1] == 1:
        return _binary_accuracy(prediction, y, threshold)
    one_hot = y.shape == prediction.shape
    classes = y.argmax(-1) if one_hot else y.reshape(prediction.shape[:-1])
    return (prediction.argmax(-1) == classes).float().mean()


def _binary_accuracy(prediction: Tensor, y: Tensor, threshold: float) -> Tensor:
    """Each output counts by itself."""
    return ((prediction > threshold).flatten() == (y > threshold).flatten()).float().mean()


_CATEGORICAL = ("accuracy", "acc", "categorical_accuracy", "sparse_categorical_accuracy")
_ACCURACIES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    **dict.fromkeys(_CATEGORICAL, accuracy),
    "binary_accuracy": _binary_accuracy,
}


@dataclass(frozen=True)
class Metric:
    """A metric with its name in the history.

    The function, of prediction and y, gives [] or [N, ...], of which the mean is taken.
    """

    name: str
    function: MetricFunction

    @staticmethod
    def of(metric: str | MetricFunction, loss: Loss) -> "Metric":
        """A metric from a name, that of any loss included, or from a function."""
        if isinstance(metric, str):
            table = dict.fromkeys([*_ACCURACIES, *NAMES], metric.lower())
            key = look_up("compile: metrics", metric, table)
            if key in NAMES:
                return Metric(metric, Loss.of(key))
            reads_sign = loss.name in ("hinge", "BCEWithLogitsLoss") or loss.name.endswith("logits")
            threshold = 0.0 if reads_sign else 0.5
            function = _ACCURACIES[key]
            return Metric(metric, lambda prediction, y: function(prediction, y, threshold))
        expected, remedy = "names or functions of prediction and y", "write 'accuracy'"
        check(callable(metric), "compile: metrics", expected, repr(metric), remedy, TypeError)
        name = getattr(metric, "__name__", type(metric).__name__)
        return Metric(name, lambda p, y: metric(p, align_column(p.shape, y)))

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Mean over a batch, []; the prediction has no graph."""
        return self.function(prediction, y).mean()
