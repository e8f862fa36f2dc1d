"""How epochs are counted, and shown."""

import numpy as np
import pytest
import torch
from torch import nn

from pyneural.training import Sequential, callbacks

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(1)


def new_model(optimizer="sgd"):
    torch.manual_seed(0)
    model = Sequential([nn.Linear(3, 1)])
    model.compile(optimizer, "mse")
    return model


def test_initial_epoch_goes_on_counting(capsys):
    model, seen = new_model("adam"), []
    schedule = callbacks.LearningRateScheduler(lambda epoch: seen.append(epoch) or 0.1)
    first = model.fit(X, Y, epochs=2, verbose=0, callbacks=[schedule])
    second = model.fit(X, Y, epochs=5, initial_epoch=2, verbose=2, callbacks=[schedule])
    assert (first.epoch, second.epoch, seen) == ([0, 1], [2, 3, 4], [0, 1, 2, 3, 4])
    assert "Epoch 3/5" in capsys.readouterr().err
    assert model.optimizer.state[model[0].weight]["step"] == 5
    for bad in (5, -1):
        with pytest.raises(
            ValueError, match=rf"initial_epoch: expected a number from 0 to 4.*{bad}"
        ):
            model.fit(X, Y, epochs=5, initial_epoch=bad, verbose=0)


def test_two_fits_are_one():
    one, two = new_model("adam"), new_model("adam")
    one.fit(X, Y, epochs=4, shuffle=False, verbose=0)
    two.fit(X, Y, epochs=1, shuffle=False, verbose=0)
    two.fit(X, Y, epochs=4, initial_epoch=1, shuffle=False, verbose=0)
    assert torch.equal(one[0].weight, two[0].weight)


def test_a_resumed_fit_has_its_numbers(tmp_path):
    path, model = tmp_path / "run.safetensors", new_model()
    model.fit(X, Y, epochs=4, initial_epoch=2, verbose=0, checkpoint=path)
    again = new_model()
    history = again.fit(X, Y, epochs=7, initial_epoch=2, verbose=0, checkpoint=path, resume=True)
    assert history.epoch == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("verbose", "text"), [("auto", "Epoch 1/1"), (1, "Epoch 1/1"), (2, "Epoch 1/1"), (0, "")]
)
def test_verbose(verbose, text, capsys):
    model = new_model()
    model.fit(X, Y, verbose=verbose)
    found = capsys.readouterr().err
    assert text in found if text else found == ""
    model.evaluate(X, Y, verbose=verbose)
    model.predict(X, verbose=verbose)
    for bad in ("no", 3, None):
        with pytest.raises(ValueError, match="verbose: expected 0, 1, 2 or 'auto'"):
            model.fit(X, Y, verbose=bad)


@pytest.mark.parametrize("samples", [1, 2, 32])
def test_x_of_one_dimension(samples):
    x = np.linspace(-1, 1, samples).astype("float32")
    model = Sequential([nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)])
    model.compile("adam", "mse")
    model.fit(x, x**2, verbose=0, validation_data=(x, x**2))
    assert model.predict(x).shape == (samples, 1)
    np.testing.assert_array_equal(model.predict(x), model.predict(x[:, None]))


@pytest.mark.parametrize("dtype", ["int32", "int16", "uint8", "int64"])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), "sparse_categorical_crossentropy"])
def test_labels_of_every_whole_type(dtype, loss):
    y = (np.arange(32) % 3).astype(dtype)
    model = Sequential([nn.Linear(3, 3), *([] if callable(loss) else [nn.Softmax(-1)])])
    model.compile("sgd", loss, ["accuracy"])
    first = model.evaluate(X, y)
    assert first == pytest.approx(model.evaluate(X, y.astype("int64")))
    model.fit(X, y, verbose=0)


def without_nan(prediction, y):
    known = ~y.isnan()
    return (prediction[known] - y[known]).square().mean()


@pytest.mark.parametrize("wrap", ["arrays", "loader"])
def test_targets_that_are_nan_with_a_loss_that_leaves_them_out(wrap):
    y = np.where(np.arange(32) % 4, Y, np.nan).astype("float32")[:, None]
    model = Sequential([nn.Linear(3, 1)])
    model.compile("sgd", without_nan)
    data = (X, y)
    if wrap == "loader":
        tensors = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
        data = (torch.utils.data.DataLoader(tensors, batch_size=8),)
    history = model.fit(*data, epochs=3, verbose=0)
    assert np.isfinite(history["loss"]).all()
    for named in ("mse", nn.MSELoss(), nn.CrossEntropyLoss()):
        model.compile("sgd", named)
        with pytest.raises(ValueError, match=r"fit: y: expected finite numbers, got 8"):
            model.fit(X, y, verbose=0)
    model.compile("sgd", without_nan)
    with pytest.raises(ValueError, match=r"fit: x: expected finite numbers"):
        model.fit(np.where(X[0] == X, np.nan, X), y, verbose=0)
