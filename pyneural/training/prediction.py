"""Outputs of a model, batch by batch."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from pyneural.training.callbacks.progress import Bar
from pyneural.training.checks import check_count
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.data.batches import TensorBatches, samples_of
from pyneural.training.data.nested import call, each, first, joined, several
from pyneural.training.data.stream import Stream, taken


def predict_batches(
    model: nn.Module, x: Any, batch_size: int, verbose: int, steps: int | None
) -> Any:
    """Outputs for what ``Model.predict`` is given, or a stream; the model has its weights."""
    adapter, shown = DataAdapter("predict", model, None, batch_size), steps
    parts: Iterable[Any]
    if isinstance(x, (DataLoader, Stream)):
        batches: Iterable[Any] = x
        if isinstance(x, Stream):
            if steps is not None:
                check_count("predict: steps", steps, 100)
            batches = taken("predict", x, steps)
        else:
            shown = len(x) if hasattr(x.dataset, "__len__") else None
        parts = (adapter.inputs(samples_of(batch)) for batch in batches)
    else:
        inputs = adapter.inputs(x, mapped=True)
        adapter.probe(inputs)
        of_tensors = TensorBatches(inputs, batch_size=batch_size)
        parts, shown = (batch.x for batch in of_tensors.epoch(0)), len(of_tensors)
    like = samples_of(x.first()) if isinstance(x, Stream) else x
    predicted = joined([call(model, part) for part in Bar(shown, verbose).over("predict", parts)])
    given = first(like) if several(like) else like
    loader = isinstance(x.source if isinstance(x, Stream) else x, DataLoader)
    if loader:
        return predicted
    if isinstance(given, Tensor):
        return each(lambda part: part.to(given.device), predicted)
    return each(lambda part: part.cpu().numpy(), predicted)
