"""Model and Sequential: data of all kinds, bad input, files."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyneural.layers import Dense
from pyneural.training import Model, Sequential
from pyneural.training.callbacks import TerminateOnNaN

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5], [0.0]], dtype="float32") + 0.3


def linear_model(**options):
    torch.manual_seed(0)
    model = Sequential([nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)])
    model.compile(**({"optimizer": "adam", "loss": "mse"} | options))
    return model


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_fit_learns_and_equals_a_hand_written_loop():
    model = linear_model(optimizer=lambda p: torch.optim.SGD(p, lr=0.05))
    reference = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    reference.load_state_dict(model.state_dict())
    history = model.fit(X, Y, batch_size=32, epochs=3, shuffle=False, verbose=0)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    for _ in range(3):
        total = 0.0
        for first in range(0, 120, 32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(reference(x[first : first + 32]), y[first : first + 32])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x[first : first + 32])
    torch.testing.assert_close(weights(model), weights(reference))
    assert history["loss"][-1] == pytest.approx(total / 120, rel=1e-5)


def test_one_seed_one_result_and_every_sample_once_an_epoch():
    results = []
    for _ in range(2):
        model = linear_model()
        seen = []
        hook = model[0].register_forward_hook(
            lambda layer, inputs, output, seen=seen: seen.extend(
                inputs[0][:, 0].tolist() * layer.training
            )
        )
        model.fit(X, Y, epochs=2, verbose=0)
        hook.remove()
        results.append((seen, weights(model)))
    (seen, first), (again, second) = results
    assert torch.equal(first, second)
    assert seen == again
    assert sorted(seen[:120]) == sorted(seen[120:]) == sorted(X[:, 0].tolist())
    assert seen[:120] != seen[120:]


@pytest.mark.parametrize(
    "kind", ["array", "tensor", "float64", "strided", "loader", "float64 loader", "list"]
)
def test_data_of_all_kinds_gives_the_same_weights(kind):
    expected = linear_model()
    expected.fit(X, Y, shuffle=False, verbose=0)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    data = {
        "array": (X, Y[:, 0]),
        "tensor": (x, y),
        "float64": (X.astype("float64"), Y.astype(">f8")),
        "strided": (X[::-1].copy()[::-1], Y),
        "loader": (DataLoader(TensorDataset(x, y), batch_size=32),),
        "float64 loader": (DataLoader(TensorDataset(x.double(), y[:, 0].double()), batch_size=32),),
        "list": (X.tolist(), Y.tolist()),
    }[kind]
    model = linear_model()
    model.fit(*data, shuffle=False, verbose=0)
    assert torch.equal(weights(model), weights(expected))
    assert model.evaluate(*data) == pytest.approx(expected.evaluate(X, Y))
    assert len(model.predict(data[0])) == 120


def test_predict_gives_back_the_kind_it_was_given():
    model = linear_model()
    assert isinstance(model.predict(X), np.ndarray)
    assert isinstance(model.predict(torch.from_numpy(X)), torch.Tensor)
    assert model.training
    np.testing.assert_allclose(model.predict(X, batch_size=7), model.predict(X), rtol=1e-5)


def test_lazy_layers_are_built_once_from_the_data():
    torch.manual_seed(0)
    model = Sequential([Dense(8, "relu"), nn.Dropout(0.1), Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="input_shape, or call fit"):
        model.summary()
    with pytest.raises(RuntimeError, match="waits for its input"):
        _ = model.optimizer
    model.fit(X, Y, verbose=0)
    made = list(model.parameters())
    model.fit(X, Y, verbose=0)
    assert all(a is b for a, b in zip(model.parameters(), made, strict=True))
    assert model.output_shapes == [(8,), (8,), (1,)]


def test_shapes_pass_through_torch_layers():
    model = Sequential([nn.Conv2d(1, 2, 3), nn.Flatten(), Dense(5)])
    assert model.predict(np.zeros((2, 1, 6, 6), "float32")).shape == (2, 5)
    assert model.output_shapes == [(2, 4, 4), (32,), (5,)]
    with pytest.raises(ValueError, match=r"layer 1 \(Linear\): .*got shape \(8,\)"):
        Sequential([nn.Linear(4, 8), nn.Linear(7, 1)])


def test_subclass_and_wrapped_module():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 1)

        def forward(self, x):
            return self.inner(x)

    for model in (Net(), Model(nn.Linear(4, 1))):
        model.compile("sgd", "mse")
        losses = model.fit(X, Y, epochs=5, verbose=0)["loss"]
        assert losses[-1] < losses[0]
        assert model.count().total == 5
    with pytest.raises(NotImplementedError, match=r"write Model\(module\)"):
        Model()(torch.zeros(1))


def test_class_and_sample_weights():
    y = (X[:, 0] > 0).astype("float32")
    results = []
    for options in (
        {"class_weight": {0: 3.0, 1: 0.5}},
        {"sample_weight": np.where(y > 0, 0.5, 3.0)},
        {"class_weight": {0: 6.0}, "sample_weight": np.full(120, 0.5)},
    ):
        model = Sequential([nn.Linear(4, 1), nn.Sigmoid()])
        nn.init.zeros_(model[0].weight)
        nn.init.zeros_(model[0].bias)
        model.compile("sgd", "binary_crossentropy")
        model.fit(X, y, shuffle=False, verbose=0, **options)
        results.append(weights(model))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])
    assert results[0][-1] < 0, "the class of the larger weight wins"


def test_class_weights_of_whole_numbers_and_of_one_hot_targets_are_the_same():
    y, results = np.arange(120) % 3, []
    for loss, targets in (
        ("sparse_categorical_crossentropy", y),
        ("sparse_categorical_crossentropy", y[:, None]),
        ("categorical_crossentropy", np.eye(3)[y]),
    ):
        torch.manual_seed(0)
        model = Sequential([nn.Linear(4, 3), nn.Softmax(-1)])
        model.compile("sgd", loss)
        model.fit(X, targets, class_weight={1: 5.0}, shuffle=False, verbose=0)
        results.append(weights(model))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def test_validation_split_takes_the_last_samples():
    model, other = linear_model(), linear_model()
    split = model.fit(X, Y, validation_split=0.25, shuffle=False, verbose=0)
    given = other.fit(
        X[:90], Y[:90], validation_data=(X[90:], Y[90:]), shuffle=False, verbose=0
    )  # fmt: skip
    assert split.history == given.history


def test_accumulation_gives_the_same_update_and_clipping_a_smaller_one():
    whole, parts = (
        linear_model(optimizer="sgd"),
        linear_model(optimizer="sgd", accumulation_steps=3),
    )
    weight = np.linspace(0, 2, 120)
    options = {"batch_size": 32, "sample_weight": weight, "shuffle": False, "verbose": 0}
    curves = [model.fit(X, Y, **options)["loss"] for model in (whole, parts)]
    torch.testing.assert_close(weights(whole), weights(parts))
    assert curves[0] == pytest.approx(curves[1])
    before = weights(linear_model())
    clipped = linear_model(optimizer=lambda p: torch.optim.SGD(p, lr=1.0), clip_norm=0.01)
    clipped.fit(X, 100 * Y, batch_size=120, verbose=0)
    assert (weights(clipped) - before).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_trains_float32_weights(dtype):
    seen = []
    model = linear_model(optimizer=partial(torch.optim.Adam, lr=0.02), mixed_precision=dtype)
    model[0].register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
    losses = model.fit(X, Y, epochs=10, verbose=0)["loss"]
    assert losses[-1] < 0.2 * losses[0]
    assert dtype in seen
    assert weights(model).dtype == torch.float32


def test_verbose_two_is_a_line_an_epoch(capsys):
    linear_model(metrics=["mae"]).fit(X, Y, epochs=2, verbose=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Epoch 2/2  loss=")
    assert "mae=" in lines[1]


def test_evaluate_and_predict_print_where_they_are_asked_to(capsys):
    model = linear_model(metrics=["mae"])
    model.evaluate(X, Y)
    model.predict(X)
    assert capsys.readouterr().err == ""
    model.evaluate(X, Y, 32, 2)
    model.predict(X, 32, 2)
    evaluated, predicted = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"evaluate  loss=\S+, mae=\S+  \d+\.\d s", evaluated)
    assert re.fullmatch(r"predict  \d+\.\d s", predicted)
    model.evaluate(X, Y, verbose=1)
    assert re.search(r"evaluate: 100%.* 4/4 .*loss=\S+, mae=", capsys.readouterr().err)
    for call in (lambda: model.evaluate(X, Y, verbose=3), lambda: model.predict(X, verbose=-1)):
        with pytest.raises(ValueError, match="verbose: expected 0, 1, 2 or 'auto', got"):
            call()


@pytest.mark.parametrize("wrap", [lambda *data: data, lambda *data: (loader_of(*data),)])
def test_own_losses_and_metrics_see_no_column_beside_a_vector(wrap):
    def squares(prediction, y):
        assert prediction.shape == y.shape
        return ((prediction - y) ** 2).mean()

    own = linear_model(loss=squares, metrics=[squares])
    named = linear_model(metrics=["mse"])
    data = wrap(torch.from_numpy(X), torch.from_numpy(Y[:, 0]))
    ours, theirs = (model.fit(*data, shuffle=False, verbose=0) for model in (own, named))
    assert ours["loss"] == pytest.approx(theirs["loss"])
    assert ours["squares"] == pytest.approx(theirs["mse"])


def loader_of(x, y):
    return DataLoader(TensorDataset(x, y), batch_size=32)


def test_loader_is_checked_like_arrays():
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    with pytest.raises(TypeError, match=r"fit: x: expected floating-point .* got torch.int64"):
        linear_model().fit(loader_of(x.long(), y), verbose=0)
    with pytest.raises(ValueError, match=r"evaluate: y: expected finite numbers"):
        linear_model().evaluate(loader_of(x, y / 0))
    bad = loader_of(x / 0, y)
    with pytest.raises(ValueError, match=r"fit: validation_data: x: expected finite numbers"):
        linear_model().fit(x, y, validation_data=bad, verbose=0)


BAD = X.copy()
BAD[5, 1], BAD[7, 2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((X, Y[:100]), {}, ValueError, r"fit: y: expected 120 samples.*got 100"),
        ((X[:0], Y[:0]), {}, ValueError, r"fit: x: expected at least one sample"),
        ((X, Y), {"batch_size": 0}, ValueError, r"fit: batch_size: .*got 0"),
        ((X, Y), {"epochs": 0}, ValueError, r"fit: epochs: .*got 0"),
        ((X, Y), {"validation_split": 1.0}, ValueError, r"validation_split: .*\(0, 1\), got 1.0"),
        ((X, Y), {"validation_split": 0.999}, ValueError, r"both parts to have samples"),
        ((X, Y), {"validation_data": X}, ValueError, r"validation_data: expected \(x, y\)"),
        ((X, Y), {"validation_data": (X, Y[:3])}, ValueError, r"validation_data: y: .*got 3"),
        ((X, Y), {"validation_data": (BAD, Y)}, ValueError, r"validation_data: x: .*got 2 of 480"),
        ((BAD, Y), {}, ValueError, r"fit: x: expected finite.*got 2 of 480.*sample 5"),
        ((X, BAD[:, 1]), {}, ValueError, r"fit: y: expected finite.*got 1 of 120"),
        (((X * 255).astype("uint8"), Y), {}, TypeError, r"fit: x: .*floating-point.*uint8"),
        ((X.astype(str), Y), {}, TypeError, r"fit: x: expected an array of numbers"),
        ((X[:, :3], Y), {}, ValueError, r"fit: x: expected samples that the model takes.*\(3,\)"),
        ((X,), {}, ValueError, r"fit: y: expected targets, got none.*fit\(x, x\)"),
        ((X, X), {}, ValueError, r"expected shape \(120, 1\).*got \(120, 4\)"),
        ((X, Y), {"sample_weight": [1.0]}, ValueError, r"sample_weight: expected 120"),
        ((X, Y), {"sample_weight": -np.ones(120)}, ValueError, r"finite numbers >= 0"),
        ((X, (Y > 0)), {"class_weight": {7: 2.0}}, ValueError, r"class_weight: .*got 7"),
        ((X, Y), {"verbose": 5}, ValueError, r"verbose: .*got 5"),
        ((X, Y), {"callbacks": TerminateOnNaN()}, TypeError, r"list of Callback.*TerminateOnNaN"),
        ((X, Y), {"callbacks": [3]}, TypeError, r"callbacks: .*got int.*TorchScheduler"),
        ((X, Y), {"resume": True}, ValueError, r"resume: expected a checkpoint"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_before_training(arguments, options, error, text):
    model = linear_model()
    before = weights(model).clone()
    with pytest.raises(error, match=text):
        model.fit(*arguments, **({"verbose": 0} | options))
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"optimizer": "adm"}, ValueError, r"did you mean 'adam'"),
        ({"optimizer": 3}, TypeError, r"compile: optimizer: .*got 3"),
        ({"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters())}, ValueError, r"of\s+others"),
        ({"clip_norm": 0.0}, ValueError, r"clip_norm: expected a number > 0"),
        ({"accumulation_steps": 0}, ValueError, r"accumulation_steps: .*got 0"),
        ({"mixed_precision": torch.float64}, ValueError, r"mixed_precision: .*model.double"),
    ],
)
def test_bad_options_of_compile(options, error, text):
    with pytest.raises(error, match=text):
        linear_model(**options)


def test_not_compiled_nothing_to_train_no_layer():
    with pytest.raises(RuntimeError, match=r"fit: expected a compiled model"):
        Sequential([nn.Linear(4, 1)]).fit(X, Y)
    model = Sequential()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="expected at least one layer"):
        model.fit(X, Y)
    frozen = Sequential([nn.Linear(4, 1).requires_grad_(False)])
    with pytest.raises(ValueError, match="at least one parameter"):
        frozen.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"Sequential.add: layer: expected a torch module"):
        model.add("Dense")


def test_classes_outside_the_last_layer():
    model = Sequential([nn.Linear(4, 3), nn.Softmax(-1)])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    y = np.arange(120) % 4
    with pytest.raises(ValueError, match=r"from 0 to 2, as the last layer has 3 units, got 30"):
        model.fit(X, y, verbose=0)
    with pytest.raises(ValueError, match="whole numbers of classes"):
        model.fit(X, y / 2, verbose=0)
    assert "accuracy" in model.fit(X, y % 3, verbose=0).history


def test_embedding_takes_whole_numbers():
    model = Sequential([nn.Embedding(10, 4), nn.Flatten(), nn.Linear(8, 1)])
    model.compile("sgd", "mse")
    model.fit(np.arange(20).reshape(10, 2) % 10, np.zeros(10), verbose=0)


def test_torchs_lazy_layers_are_made_from_the_data():
    for model in (
        Sequential([nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(1)]),
        Model(nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(1))),
    ):
        model.compile("adam", "mse")
        model.fit(X, Y, verbose=0)
        assert model.count().total == 4 * 8 + 8 + 8 + 1
