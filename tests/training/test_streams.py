"""Generators and loaders: batches that come one after the other."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pyneural import layers
from pyneural.training import Sequential
from pyneural.training.data.adapter import DataAdapter
from pyneural.training.distributed import ProcessGroup
from pyneural.training.losses.functions import Loss

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def new_model(*parts):
    torch.manual_seed(0)
    model = Sequential(parts or [nn.Linear(3, 1)])
    model.compile("sgd", "mse", ["mae"])
    return model


def batches(kind=np.asarray, weight=False, epochs=100):
    for _ in range(epochs):
        for begin in range(0, 32, 8):
            rows = slice(begin, begin + 8)
            yield (kind(X[rows]), kind(Y[rows]), *([np.full(8, 2.0)] if weight else []))


class Endless(IterableDataset):
    def __iter__(self):
        return batches(torch.from_numpy)


STREAMS = {
    "generator": batches,
    "tensors": lambda: batches(torch.from_numpy),
    "iterator of a list": lambda: iter(list(batches())),
    "DataLoader without a length": lambda: DataLoader(Endless(), batch_size=None),
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("lazy", [False, True])
def test_a_generator_is_the_same_as_arrays(kind, lazy):
    expected = new_model(nn.Linear(3, 1))
    found = new_model(*([layers.Dense(1)] if lazy else [nn.Linear(3, 1)]))
    found.build(torch.zeros(1, 3))
    inner = found[0].linear if lazy else found[0]
    inner.load_state_dict(expected[0].state_dict())
    options = {"epochs": 3, "verbose": 0}
    first = expected.fit(X, Y, 8, shuffle=False, validation_data=(X, Y), **options)
    second = found.fit(
        STREAMS[kind](), steps_per_epoch=4, validation_data=STREAMS[kind](), validation_steps=4,
        **options,
    )  # fmt: skip
    for name in ("loss", "mae", "val_loss"):
        assert second[name] == pytest.approx(first[name], rel=1e-5)


def test_a_generator_that_builds_the_model_loses_no_batch():
    model = new_model(layers.Dense(1))
    source = batches(epochs=2)
    model.fit(source, steps_per_epoch=4, epochs=2, verbose=0)
    assert next(source, None) is None


def test_weights_of_a_generator():
    one, two = new_model(), new_model()
    one.fit(batches(weight=True), steps_per_epoch=4, verbose=0)
    two.fit(X, Y, 8, shuffle=False, sample_weight=np.full(32, 2.0), verbose=0)
    torch.testing.assert_close(one[0].weight, two[0].weight)


@pytest.mark.parametrize(
    ("data", "options", "text"),
    [
        ((batches(epochs=1),), {"steps_per_epoch": 5}, "expected 5 batches in epoch 1, got 4"),
        ((batches(epochs=1),), {"steps_per_epoch": 3, "epochs": 2}, "in epoch 2, got 1"),
        ((batches(),), {}, "steps_per_epoch: expected a whole number >= 1, got None"),
        ((batches(), Y), {"steps_per_epoch": 4}, "nothing beside a generator"),
        ((X, Y), {"steps_per_epoch": 4}, "none, unless x is a generator"),
        ((batches(),), {"steps_per_epoch": 4, "validation_split": 0.5}, "arrays or tensors"),
        ((X, Y), {"validation_data": batches()}, "validation_steps: expected a whole number"),
        (
            (X, Y),
            {"validation_data": batches(epochs=1), "validation_steps": 5},
            "fit: validation_data: x: expected 5 batches in epoch 1, got 4; .* validation_steps",
        ),
        (
            (X, Y),
            {"validation_data": DataLoader(X, 8)},
            r"fit: validation_data: x: expected batches \(x, y\)",
        ),
    ],
)
def test_generators_that_do_not_fit(data, options, text):
    with pytest.raises(ValueError, match=text):
        new_model().fit(*data, verbose=0, **options)


class Again:
    """Gives its batches anew each time."""

    def __init__(self, *parts):
        self.parts = parts

    def __iter__(self):
        return batches(*self.parts, epochs=1)


ONCE = {
    "generator": lambda: batches(epochs=1),
    "tensors": lambda: batches(torch.from_numpy, epochs=1),
    "iterable": Again,
    "iterable of tensors": lambda: Again(torch.from_numpy),
    "DataLoader without a length": lambda: DataLoader(
        list(batches(torch.from_numpy, epochs=1)), batch_size=None, sampler=Four()
    ),
}


class Four(torch.utils.data.Sampler):
    """Of the four batches, without a length."""

    def __init__(self):
        pass

    def __iter__(self):
        return iter(range(4))


@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize("steps", [None, 3, np.int64(4)])
@pytest.mark.parametrize("lazy", [False, True])
def test_evaluate_and_predict(kind, steps, lazy):
    torch.manual_seed(0)
    model = new_model(layers.Dense(1) if lazy else nn.Linear(3, 1))
    rows = 8 * (4 if steps is None else int(steps))
    found = model.evaluate(ONCE[kind](), steps=steps, return_dict=True)
    expected = model.evaluate(X[:rows], Y[:rows], return_dict=True)
    assert found == pytest.approx(expected, rel=1e-6)
    predicted = model.predict(ONCE[kind](), steps=steps)
    assert isinstance(predicted, np.ndarray) == (kind in ("generator", "iterable"))
    np.testing.assert_allclose(predicted, model.predict(X[:rows]), rtol=1e-5, atol=1e-6)


def test_no_batch_is_lost():
    model, source = new_model(layers.Dense(1)), batches(epochs=3)
    model.predict(source, steps=2)
    model.evaluate(source, steps=2)
    np.testing.assert_allclose(model.predict(source, steps=4), model.predict(X), rtol=1e-5)
    assert model.evaluate(source) == pytest.approx(model.evaluate(X, Y), rel=1e-6)
    assert next(source, None) is None


class Shared(IterableDataset):
    """Gives one iterator, whoever asks."""

    def __init__(self, *targets):
        rows = zip(torch.from_numpy(X), *targets, strict=True)
        self.rows = rows if targets else (row for (row,) in rows)

    def __iter__(self):
        return self.rows


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"steps_per_epoch": 4}, {"steps_per_epoch": 2, "epochs": 2}]
)
def test_each_batch_of_a_shared_iterator_counts_once(options, lazy):
    seen = []

    def loss(prediction, y):
        seen.append(y)
        return (prediction - y).square().mean()

    model = Sequential([layers.Dense(1) if lazy else nn.Linear(3, 1)])
    model.compile("sgd", loss)
    loader = DataLoader(Shared(torch.from_numpy(Y)), batch_size=8)
    model.fit(loader, verbose=0, **options) if options else model.evaluate(loader)
    np.testing.assert_array_equal(torch.cat(seen), Y)


@pytest.mark.parametrize("lazy", [False, True])
def test_predict_of_a_shared_iterator(lazy):
    model = new_model(layers.Dense(1) if lazy else nn.Linear(3, 1))
    found = model.predict(DataLoader(Shared(), batch_size=8))
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-5, atol=1e-6)


def test_predict_of_batches_of_x_alone():
    model = new_model()
    expected = model.predict(X)
    np.testing.assert_allclose(model.predict(iter([X[:5], X[5:]])), expected, rtol=1e-5)
    torch.manual_seed(0)


def test_an_iterable_is_gone_through_in_each_epoch():
    found, expected = new_model(), new_model()
    options = {"epochs": 3, "verbose": 0}
    first = found.fit(
        Again(), steps_per_epoch=4, validation_data=Again(), validation_steps=4, **options
    )
    second = expected.fit(X, Y, 8, shuffle=False, validation_data=(X, Y), **options)
    for name in ("loss", "val_loss"):
        assert first[name] == pytest.approx(second[name], rel=1e-5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.evaluate(batches(epochs=1), steps=5), "evaluate: x: expected 5 batches.* 4"),
        (lambda m: m.predict(batches(epochs=1), steps=5), "predict: x: expected 5 batches, got 4"),
        (lambda m: m.evaluate(iter([])), "evaluate: x: expected at least one batch.*got none"),
        (lambda m: m.predict(iter([])), "predict: x: expected at least one batch, got none"),
        (lambda m: m.evaluate(X, Y, steps=2), "evaluate: steps: expected none, unless x is a gen"),
        (lambda m: m.predict(X, steps=2), "predict: steps: expected none, unless x is a generator"),
        (lambda m: m.evaluate(batches(), steps=0), "evaluate: steps: expected a whole number >= 1"),
        (lambda m: m.predict(batches(), steps=True), "predict: steps: expected a whole number"),
        (lambda m: m.evaluate(batches(), Y, steps=2), "evaluate: y: .*nothing beside a generator"),
        (lambda m: m.evaluate(iter([X]), steps=1), "evaluate: x: expected batches"),
    ],
)
def test_what_evaluate_and_predict_refuse(call, text):
    with pytest.raises(ValueError, match=text):
        call(new_model())


class Pairs:
    """Has items, as a Dataset of torch or a Sequence of Keras."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_dataset_needs_a_loader(lazy):
    model = new_model(layers.Dense(1) if lazy else nn.Linear(3, 1))
    table = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    for dataset in (Pairs(), table):
        for name in ("fit", "evaluate", "predict"):
            with pytest.raises(TypeError, match=rf"{name}: x: .*; write DataLoader\(x, "):
                getattr(model, name)(dataset)
    found = model.evaluate(DataLoader(Pairs(), batch_size=None))
    assert found == pytest.approx(model.evaluate(X, Y), rel=1e-6)
    assert model.evaluate(DataLoader(table, 8)) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("name", ["", "validation_data: "])
def test_a_generator_is_not_divided_between_processes(name):
    model = new_model()
    adapter = DataAdapter("fit", model, Loss.of("mse"), 8, ProcessGroup(0, 2))
    text = f"fit: {name}x: expected one process, got 2 processes; give a DataLoader"
    with pytest.raises(ValueError, match=text):
        adapter.batches((batches(), None, None), steps=4, name=name)


class GoesOn(IterableDataset):
    """Has a length, and gives one and the same iterator each time."""

    def __init__(self):
        self.samples = iter([(torch.ones(3), torch.ones(1))] * 8)

    def __len__(self):
        return 8

    def __iter__(self):
        return self.samples


class BeginsAnew(GoesOn):
    def __iter__(self):
        return iter([(torch.ones(3), torch.ones(1))] * 8)


def test_a_loader_that_would_lose_its_first_batch_is_refused():
    model = Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    data = GoesOn()
    with pytest.raises(ValueError, match="fit: x: expected a dataset that begins anew"):
        model.fit(DataLoader(data, batch_size=4), verbose=0)
    assert len(list(data.samples)) == 8
    model.fit(DataLoader(BeginsAnew(), batch_size=4), verbose=0)
    assert [p.shape for p in model.parameters()] == [(1, 3), (1,)]
