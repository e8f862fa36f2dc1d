"""Losses that are no means over the samples, where batches are divided."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from pyneural.training import Model
from tests.training.test_model import X, Y, linear_model, weights


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (nn.MSELoss(reduction="sum"), r"1, unless MSELoss is a mean.*a sum.*reduction='none'"),
        (partial(nn.functional.l1_loss, reduction="sum"), r"unless l1_loss is a mean.*a sum"),
        ({"a": None, "b": nn.HuberLoss(reduction="sum")}, r"unless HuberLoss is a mean"),
        (nn.CrossEntropyLoss(torch.ones(4)), r"weights of classes.*give fit class_weight"),
    ],
)
def test_accumulation_of_what_is_no_mean_over_samples_is_refused(loss, text):
    model = Model(nn.Linear(4, 4))
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=text):
        model.compile("sgd", loss, accumulation_steps=2)


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.MSELoss(reduction="none"), nn.BCEWithLogitsLoss(torch.ones(1))]
)
def test_accumulation_of_means_of_torch(loss):
    updated = []
    for parts in (1, 3):
        model = linear_model(optimizer="sgd", loss=loss, accumulation_steps=parts)
        model.fit(X, (Y > 0).astype("float32"), batch_size=50, verbose=0)
        updated.append(weights(model))
    torch.testing.assert_close(*updated)


IGNORED = {
    "a module": (nn.CrossEntropyLoss(), -100, "CrossEntropyLoss"),
    "an index of its own": (nn.CrossEntropyLoss(ignore_index=2), 2, "CrossEntropyLoss"),
    "logarithms": (nn.NLLLoss(ignore_index=0), 0, "NLLLoss"),
    "a function": (partial(nn.functional.cross_entropy, ignore_index=1), 1, "cross_entropy"),
    "one of two": ({"a": nn.CrossEntropyLoss(), "b": "mse"}, -100, "CrossEntropyLoss"),
}


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("case", IGNORED)
def test_parts_of_a_batch_with_ignored_targets_are_refused(case, processes):
    """The mean over those that are not ignored is not the mean of its parts."""
    loss, index, name = IGNORED[case]
    y = torch.full((20,), 3)
    targets, x = ({"a": y, "b": torch.zeros(20, 4)} if case == "one of two" else y), X[:20]

    class Both(Model):
        def forward(self, x):
            one = torch.log_softmax(self.module(x), 1)
            return {"a": one, "b": one} if case == "one of two" else one

    model = Both(nn.Linear(4, 4))
    model.compile("sgd", loss, accumulation_steps=1 if processes else 2)
    if processes:
        model.compile_config("fit").divide("fit: processes")
    model.fit(torch.as_tensor(x).float(), targets, verbose=0)  # none is ignored
    y[7] = index
    before = weights(model)
    text = f"expected 1, unless {name} is a mean .*y that is {index}; write reduction='none'"
    with pytest.raises(ValueError, match=text):
        model.fit(torch.as_tensor(x).float(), targets, verbose=0)
    assert torch.equal(weights(model), before)
    model.evaluate(torch.as_tensor(x).float(), targets)  # of whole batches
