"""Metrics by Keras's names, beside the loss: means over the samples, or of a whole pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from pyneural.training.checks import check, look_up
from pyneural.training.losses.functions import NAMES, Loss, align_column
from pyneural.training.losses.pass_metrics import PASS_METRICS, Value

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
_ACCURACIES: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(_CATEGORICAL, accuracy),
    "binary_accuracy": _binary_accuracy,
}


@dataclass(frozen=True)
class Metric:
    """A metric with its name in the history.

    The function, of prediction and y, gives [] or [N, ...], of which the mean is taken; or, with
    ``value``, moments [K], of whose mean over a pass that makes the metric (see ``pass_metrics``).
    """

    name: str
    function: MetricFunction
    value: Value | None = None

    @staticmethod
    def of(metric: str | MetricFunction, loss: Loss | None) -> "Metric":
        """A metric from a name, that of any loss included, or from a function.

        The loss, if there is one, says how predictions are to be read.
        """
        if isinstance(metric, str):
            table = dict.fromkeys([*_ACCURACIES, *PASS_METRICS, *NAMES], metric.lower())
            key = look_up("compile: metrics", metric, table)
            if key in NAMES:
                return Metric(metric, Loss.of(key))
            name = "" if loss is None else loss.name
            each = name in _EACH_BY_ITSELF
            reads_sign = name in ("hinge", "BCEWithLogitsLoss") or name.endswith("logits")
            threshold = 0.0 if reads_sign else 0.5
            if key in PASS_METRICS:
                moments, value, classes = PASS_METRICS[key]
                options = {"threshold": threshold, "each": each} if classes else {}
                return Metric(metric, partial(moments, **options), value)
            return Metric(metric, partial(_ACCURACIES[key], threshold=threshold))
        expected, remedy = "names or functions of prediction and y", "write 'accuracy'"
        if isinstance(metric, type):
            got = f"the class {metric.__name__}"
            check(False, "compile: metrics", expected, got, f"write {metric.__name__}()", TypeError)
        check(callable(metric), "compile: metrics", expected, repr(metric), remedy, TypeError)
        given = metric.func if isinstance(metric, partial) else metric
        name = getattr(given, "__name__", type(given).__name__)
        return Metric(name, partial(_aligned, metric))

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Mean over a batch, [], or moments [K]; the prediction has no graph."""
        values = self.function(prediction, y)
        return values.mean() if self.value is None else values


def check_names(metrics: Sequence[Metric], curves: Sequence[str] = ()) -> None:
    """ValueError where two metrics, or one and another curve, would have one name."""
    names, taken = [metric.name for metric in metrics], {*_TAKEN, *curves}
    for name in names:
        good = names.count(name) == 1 and name not in taken and not name.startswith("val_")
        got = f"{name!r} twice" if names.count(name) > 1 else f"{name!r}, which is a curve already"
        remedy = "write a function (def) of another name, which is its name in the history"
        check(good, "compile: metrics", "names that differ", got, remedy)


def direction(name: str) -> str | None:
    """Whether "min" or "max" of a quantity is better, by the words in its name; None if unknown.

    >>> direction("val_loss"), direction("val_r2"), direction("top5_accuracy"), direction("x")
    ('min', 'max', 'max', None)
    """
    words = set(name.lower().removeprefix("val_").split("_"))
    falls = bool(words & _FALL) or name.removeprefix("val_") in NAMES
    return {(True, False): "min", (False, True): "max"}.get((falls, bool(words & _GROW)))


def _aligned(metric: MetricFunction, prediction: Tensor, y: Tensor) -> Tensor:
    if isinstance(prediction, Tensor) and isinstance(y, Tensor):
        y = align_column(prediction.shape, y)
    return metric(prediction, y)


# Losses of which each output is a class of its own, to be told by its threshold.
_EACH_BY_ITSELF = (
    "binary_crossentropy", "hinge", "BCELoss", "BCEWithLogitsLoss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
)  # fmt: skip
_TAKEN = ("loss", "learning_rate", "epoch", "regularization")
_GROW = {
    "acc", "accuracy", "auc", "f1", "r2", "precision", "recall", "iou", "dice", "psnr", "ssim",
    "specificity", "sensitivity", "correlation", "likelihood", "elbo",
}  # fmt: skip
_FALL = {
    "loss", "error", "mse", "mae", "rmse", "msle", "mape", "cost", "crossentropy", "divergence",
    "nll", "perplexity", "residual", "hinge",
}  # fmt: skip
