"""Several inputs, and the outputs of a model that has them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pyneural.training import Model

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


class Two(nn.Module):
    """y = W a + V b, and |a|^2 beside it if asked for."""

    def __init__(self, outputs=1):
        super().__init__()
        self.first, self.second = nn.Linear(3, 1), nn.Linear(2, 1)
        self.outputs = outputs

    def forward(self, a, b):
        y = self.first(a) + self.second(b)
        if self.outputs == "dict":
            return {"y": y, "norm": y.square()}
        return y if self.outputs == 1 else (y, y.square())


A, B = X, X[:, :2] * 2
INPUTS = {
    "tuple": (A, B),
    "dict": {"a": A, "b": B},
    "tensors": (torch.from_numpy(A), torch.from_numpy(B)),
    "dict of tensors": {"b": torch.from_numpy(B), "a": torch.from_numpy(A)},
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("options", [{}, {"validation_split": 0.25}, {"shuffle": False}])
def test_several_inputs(kind, options):
    results = []
    for x in (INPUTS["tuple"], INPUTS[kind]):
        torch.manual_seed(0)
        model = Model(Two())
        model.compile("sgd", "mse", ["mae"], accumulation_steps=2)
        history = model.fit(x, Y, 8, epochs=2, verbose=0, **options)
        results.append((history.history, model.evaluate(x, Y), model.predict(x)))
    assert results[0][0] == results[1][0]
    assert results[0][1] == results[1][1]
    np.testing.assert_array_equal(results[0][2], results[1][2])
    assert isinstance(results[1][2], np.ndarray) == (kind in ("tuple", "dict"))
    assert results[0][0]["loss"][-1] < results[0][0]["loss"][0]


def of_both(prediction, y):
    return sum((p - t).square().mean() for p, t in zip(prediction, y, strict=True))


def by_name(prediction, y):
    return sum((prediction[name] - y[name]).square().mean() for name in y)


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_several_outputs_with_a_loss_of_the_users_own(kind):
    torch.manual_seed(0)
    model = Model(Two(kind))
    model.compile("sgd", of_both if kind == "tuple" else by_name)
    y = (Y, Y**2) if kind == "tuple" else {"y": Y, "norm": Y**2}
    history = model.fit((A, B), y, epochs=5, verbose=0, validation_data=((A, B), y))
    assert history["loss"][-1] < history["loss"][0]
    found = model.predict((A, B), batch_size=5)
    parts = list(found.values()) if kind == "dict" else list(found)
    assert [part.shape for part in parts] == [(32, 1), (32, 1)]
    np.testing.assert_allclose(parts[1], parts[0] ** 2, rtol=1e-5)
    model.compile("sgd", "mse")
    with pytest.raises(
        TypeError, match=r"mean_squared_error: prediction and y: .* got (tuple|dict)"
    ):
        model.fit((A, B), y, verbose=0)


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_a_loss_for_each_output(kind):
    results = []
    own = of_both if kind == "tuple" else by_name
    for loss in (own, ["mse", "mse"] if kind == "tuple" else {"norm": "mse", "y": nn.MSELoss()}):
        torch.manual_seed(0)
        model = Model(Two(kind))
        model.compile("sgd", loss)
        y = (Y, (Y**2)[:, 0]) if kind == "tuple" else {"y": Y.astype("float64"), "norm": Y**2}
        if loss is own:
            y = (Y, Y**2) if kind == "tuple" else {"y": Y, "norm": Y**2}
        history = model.fit((A, B), y, epochs=3, verbose=0, shuffle=False)
        results.append(history["loss"])
    assert results[0] == pytest.approx(results[1])
    model.compile("sgd", {"y": "mse"})
    with pytest.raises(ValueError, match=r"fit: prediction: expected outputs 'y', as loss has"):
        model.fit((A, B), y, verbose=0)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ((A, B[:7]), r"inputs of one length, got \[32, 7\]"),
        ({"a": A, "b": B[:, 0] / 0}, "fit: x: expected finite"),
        ((A, B.astype("int64")), "floating-point numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_inputs_that_do_not_fit(x, text):
    model = Model(Two())
    model.compile("sgd", "mse")
    with pytest.raises((ValueError, TypeError), match=text):
        model.fit(x, Y, verbose=0)


def test_several_inputs_of_a_loader():
    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, i):
            return {"a": A[i], "b": B[i]}, Y[i]

    torch.manual_seed(0)
    model = Model(Two())
    model.compile("sgd", "mse")
    loader = DataLoader(Pairs(), batch_size=8)
    expected = model.evaluate({"a": A, "b": B}, Y)
    assert model.evaluate(loader) == pytest.approx(expected)
    model.fit(loader, verbose=0)


def test_predict_of_batches_of_several_inputs():
    two = Model(Two())
    whole = two.predict({"a": A, "b": B})
    parts = iter([{"a": A[:5], "b": B[:5]}, ((A[5:], B[5:]), Y[5:])])
    np.testing.assert_allclose(two.predict(parts), whole, rtol=1e-5)
