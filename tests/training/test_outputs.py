"""Several outputs: a loss, a weight and metrics for each, under Keras's names."""

import json
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pyneural.training import Model, callbacks
from pyneural.training.losses.several import LossesOfOutputs

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 3)).astype("float32")
A, B = X.sum(1, keepdims=True) + 0.5, (X[:, :1] > 0.3).astype("float32")
Pair = namedtuple("Pair", ["a", "b"])
FORMS = {
    "dict": lambda a, b: {"a": a, "b": b},
    "tuple": lambda a, b: (a, b),
    "list": lambda a, b: [a, b],
    "named tuple": lambda a, b: Pair(a, b),
}


class Heads(nn.Module):
    """a = w x, and b, a probability, in one of the forms."""

    def __init__(self, form):
        super().__init__()
        self.a, self.b, self.form = nn.Linear(3, 1), nn.Linear(3, 1), FORMS[form]

    def outputs(self, x):
        return self.a(x), torch.sigmoid(self.b(x))

    def forward(self, x):
        return self.form(*self.outputs(x))


def new_model(form, *, lr=0.0, **options):
    torch.manual_seed(0)
    model = Model(Heads(form))
    given = {"loss": FORMS[form]("mse", "binary_crossentropy")} | options
    model.compile(lambda parameters: torch.optim.SGD(parameters, lr=lr), **given)
    return model


def as_given(form, a, b):
    """As compile and fit are given it: a dict for a dict, else a list."""
    return {"a": a, "b": b} if form == "dict" else [a, b]


def values(model):
    with torch.no_grad():
        a, b = (part.double().numpy() for part in model.module.outputs(torch.from_numpy(X)))
    return {
        "a_loss": ((a - A) ** 2).mean(),
        "b_loss": -(B * np.log(b) + (1 - B) * np.log(1 - b)).mean(),
        "a_mae": np.abs(a - A).mean(),
        "a_rmse": np.sqrt(((a - A) ** 2).mean()),
        "b_accuracy": ((b > 0.5) == B).mean(),
        "b_mse": ((b - B) ** 2).mean(),
    }


def named(form, expected):
    places = {"a": "output_0", "b": "output_1"}
    if form == "dict":
        return expected
    return {places.get(k[0], k[0]) + k[1:] if k[1] == "_" else k: v for k, v in expected.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [30, 7])
@pytest.mark.parametrize("weights", [None, (2.0, 0.25), (np.float32(2), np.int64(0))])
def test_curves_and_their_values(form, size, weights):
    metrics = as_given(form, ["mae", "rmse"], ["accuracy", "mse"])
    given = None if weights is None else as_given(form, *weights)
    model = new_model(form, metrics=metrics, loss_weights=given)
    y = as_given(form, A, B)
    history = model.fit(X, y, size, 1, verbose=0, validation_data=(X, y)).history
    expected = values(model)
    w = (1.0, 1.0) if weights is None else weights
    loss = w[0] * expected["a_loss"] + w[1] * expected["b_loss"]
    expected = named(form, {"loss": loss, **expected})
    assert list(history) == [*expected, *(f"val_{name}" for name in expected)]
    for name, value in expected.items():
        assert history[name] == pytest.approx([value], rel=1e-5)
        assert history[f"val_{name}"] == pytest.approx([value], rel=1e-5)
    found = model.evaluate(X, y, size, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-5)
    assert list(found) == list(expected)
    assert model.evaluate(X, y, size) == pytest.approx(list(expected.values()), rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_weighted_sum_is_minimised_and_nothing_else(form):
    y, w = as_given(form, A, B), as_given(form, 2.0, 0.25)
    metrics = as_given(form, ["mae"], None)
    model = new_model(form, lr=0.1, loss_weights=w, metrics=metrics)
    assert set(model.term_weights.values()) == {0.0}  # of the curves beside the loss
    model.fit(X, y, 30, 1, verbose=0, shuffle=False)
    expected = new_model(form).module
    a, b = expected.outputs(torch.from_numpy(X))
    loss = 2.0 * nn.functional.mse_loss(a, torch.from_numpy(A))
    loss = loss + 0.25 * nn.functional.binary_cross_entropy(b, torch.from_numpy(B))
    loss.backward()
    for name, parameter in expected.named_parameters():
        moved = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(dict(model.module.named_parameters())[name].detach(), moved)


def test_no_gradient_of_the_curves_beside_the_loss():
    outputs = {name: torch.ones(2, 1, requires_grad=True) for name in "ab"}
    terms = LossesOfOutputs(BOTH).terms(outputs, {name: torch.zeros(2, 1) for name in "ab"})
    assert [name for name, term in terms.items() if term.requires_grad] == ["loss"]


class Rows(Dataset):
    def __init__(self, form):
        self.form = form

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], as_given(self.form, A[i], B[i])


def batches(form):
    while True:
        for begin in range(0, 30, 10):
            rows = slice(begin, begin + 10)
            yield X[rows], as_given(form, A[rows], B[rows])


@pytest.mark.parametrize("form", ["dict", "list"])
def test_loaders_generators_and_splits(form):
    y, metrics = as_given(form, A, B), as_given(form, "mae", "accuracy")
    results = []
    for data, options in (
        ((X, y, 10), {}),
        ((DataLoader(Rows(form), 10),), {}),
        ((batches(form),), {"steps_per_epoch": 3}),
    ):
        model = new_model(form, lr=0.1, metrics=metrics)
        results.append(model.fit(*data, epochs=2, shuffle=False, verbose=0, **options).history)
    for other in results[1:]:
        assert other.keys() == results[0].keys()
        for name, curve in results[0].items():
            assert other[name] == pytest.approx(curve, rel=1e-5)
    model = new_model(form, metrics=metrics)
    split = model.fit(X, y, 10, validation_split=0.5, shuffle=False, verbose=0)
    half = (X[15:], as_given(form, A[15:], B[15:]))
    expected = model.evaluate(*half, return_dict=True)
    assert {k: split[f"val_{k}"][0] for k in expected} == pytest.approx(expected, rel=1e-5)


def test_an_output_without_a_loss_is_measured():
    model = new_model("dict", loss={"a": "mse", "b": None}, metrics={"b": ["accuracy"]})
    found = model.evaluate(X, {"a": A, "b": B}, return_dict=True)
    expected = values(model)
    assert found == pytest.approx(
        {"loss": expected["a_loss"], "b_accuracy": expected["b_accuracy"]}
    )
    model.compile("sgd", {"a": "mse", "b": None})
    assert model.evaluate(X, {"a": A}) == pytest.approx(expected["a_loss"])


def test_labels_of_classes_and_columns():
    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.a = nn.Linear(3, 4), nn.Linear(3, 1)

        def forward(self, x):
            return {"c": self.c(x).softmax(-1), "a": self.a(x)}

    model = Model(Classes())
    model.compile("adam", {"c": "sparse_categorical_crossentropy", "a": "mae"}, {"c": "f1"})
    labels = RANDOM.integers(0, 4, 30)
    found = model.evaluate(X, {"c": labels.astype("int32"), "a": A[:, 0]}, return_dict=True)
    with torch.no_grad():
        p = model.module.c(torch.from_numpy(X)).softmax(-1).numpy()
    assert found["c_loss"] == pytest.approx(-np.log(p[np.arange(30), labels]).mean(), rel=1e-5)
    for bad, text in ((labels + 1, "fit: y: c: expected values from 0 to 3"),
                      (labels + 0.5, "fit: y: c: expected whole numbers")):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            model.fit(X, {"c": bad, "a": A}, verbose=0)
        loader = DataLoader([(X[i], {"c": bad[i], "a": A[i]}) for i in range(30)], 10)
        with pytest.raises(ValueError, match=text):
            model.fit(loader, verbose=0)
    with pytest.raises(ValueError, match="fit: y: a: expected finite numbers"):
        model.fit(X, {"c": labels, "a": A * np.nan}, verbose=0)
    with pytest.raises(ValueError, match=r"mean_absolute_error: y: expected shape \(30, 1\)"):
        model.fit(X, {"c": labels, "a": X}, verbose=0)


def test_weights_of_samples_count_for_each_output():
    w = RANDOM.uniform(0, 2, 30)
    model = new_model("dict")
    found = model.evaluate(X, {"a": A, "b": B}, sample_weight=w, return_dict=True)
    with torch.no_grad():
        a = model.module.a(torch.from_numpy(X)).numpy()
    assert found["a_loss"] == pytest.approx((w[:, None] * (a - A) ** 2).mean(), rel=1e-5)
    assert found["loss"] == pytest.approx(found["a_loss"] + found["b_loss"])


def test_a_metric_reads_predictions_as_the_loss_of_its_output_does():
    losses = {"a": "mse", "b": nn.BCEWithLogitsLoss()}  # a logit above 0 is class 1
    model = new_model("dict", loss=losses, metrics={"b": "accuracy"})
    found = model.evaluate(X, {"a": A, "b": B}, return_dict=True)
    assert found["b_accuracy"] == pytest.approx(B.mean())


def test_rows_of_each_output_must_be_those_of_x():
    pandas = pytest.importorskip("pandas")
    x, a, b = (pandas.DataFrame(values) for values in (X, A, B))
    for call in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=f"{call}: y: expected the index that x has"):
            getattr(new_model("list"), call)(x, [a, b[::-1]], verbose=0)


def test_callbacks_watch_an_output(tmp_path):
    y, metrics = {"a": A, "b": B}, {"b": "accuracy"}
    model = new_model("dict", lr=0.1, metrics=metrics)
    beside = [
        callbacks.EarlyStopping("val_b_accuracy", patience=5),
        callbacks.ModelCheckpoint(tmp_path / "best", "val_a_loss", save_best_only=True),
        callbacks.CSVLogger(tmp_path / "log.csv"),
    ]
    history = model.fit(X, y, epochs=3, verbose=0, callbacks=beside, validation_data=(X, y))
    columns = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert columns == ["epoch", *history.history]
    with pytest.raises(ValueError, match=r"monitor: .*a_loss.*got 'c_loss'"):
        model.fit(X, y, verbose=0, callbacks=[callbacks.EarlyStopping("c_loss")])


def test_a_resumed_fit_has_the_same_losses(tmp_path):
    y, path = {"a": A, "b": B}, tmp_path / "run.safetensors"
    new_model("dict").fit(X, y, verbose=0, checkpoint=path)
    again = new_model("dict", loss_weights={"a": 2.0, "b": 1.0})
    text = r"loss: expected 1 mean_squared_error\(a\) \+ 1 binary_crossentropy\(b\)"
    with pytest.raises(ValueError, match=text):
        again.fit(X, y, epochs=2, verbose=0, checkpoint=path, resume=True)
    json.dumps(again.config())


def test_metrics_of_outputs_beside_a_loss_of_the_users_own():
    def both(prediction, y):
        return sum((prediction[name] - y[name]).square().mean() for name in y)

    model = new_model("dict", loss=both, metrics={"a": "mae", "b": ["accuracy"]})
    found = model.evaluate(X, {"a": A, "b": B}, return_dict=True)
    expected = values(model)
    assert list(found) == ["loss", "a_mae", "b_accuracy"]
    assert found["a_mae"] == pytest.approx(expected["a_mae"], rel=1e-5)
    assert found["b_accuracy"] == pytest.approx(expected["b_accuracy"])
    model = new_model("dict", loss=both, metrics={"c": "mae"})
    text = "^metrics: prediction: expected an output 'c', as metrics has"
    with pytest.raises(ValueError, match=text):
        model.fit(X, {"a": A, "b": B}, verbose=0)


BOTH = {"a": "mse", "b": "mse"}


def loss(prediction, y):
    return (prediction - y).abs().mean()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"loss": {}}, "loss: expected at least one loss"),
        ({"loss": {"a": None}}, "loss: expected at least one loss"),
        ({"loss": BOTH, "metrics": {"c": "mae"}}, "metrics: .*'a', 'b', .*got one for 'c'"),
        ({"loss": BOTH, "metrics": ["mae", "mae"]}, "metrics: .*a dict for outputs 'a', 'b'"),
        ({"loss": BOTH, "metrics": "mae"}, "metrics: expected a dict"),
        ({"loss": ["mse", "mse"], "metrics": ["mae"]}, "metrics: expected a list for outputs 0, 1"),
        ({"loss": ["mse", "mse"], "metrics": ["mae"] * 3}, "metrics: expected a list .*one for 2"),
        ({"loss": ["mse", "mse"], "metrics": {"a": "mae"}}, "metrics: expected a list"),
        ({"loss": ["mse", "mse"], "metrics": "mae"}, "metrics: expected a list"),
        ({"loss": BOTH, "metrics": {"a": ["mae", "mae"]}}, "metrics: .*got 'a_mae' twice"),
        ({"loss": BOTH, "metrics": {"a": loss}}, "metrics: .*got 'a_loss', which is a curve"),
        ({"loss": BOTH, "metrics": {"a": "los"}}, "metrics: expected a known name, got 'los'"),
        ({"loss": BOTH, "loss_weights": {"a": 1.0}}, "loss_weights: expected a finite number for"),
        ({"loss": BOTH, "loss_weights": {"a": 1.0, "b": 1.0, "c": 2.0}}, "loss_weights: .*for 'c'"),
        ({"loss": BOTH, "loss_weights": [1.0, 2.0]}, "loss_weights: expected a dict"),
        ({"loss": BOTH, "loss_weights": {"a": 1.0, "b": np.nan}}, "loss_weights: .* got nan"),
        ({"loss": BOTH, "loss_weights": {"a": 1.0, "b": True}}, "loss_weights: .* got True"),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0]}, "loss_weights: expected a list"),
        ({"loss": ["mse", "mse"], "loss_weights": {0: 1.0, 1: 1.0}}, "loss_weights: .*got dict"),
        ({"loss": ["mse", "mse"], "loss_weights": 2.0}, "loss_weights: .*list .*got float"),
        ({"loss": "mse", "loss_weights": [2.0]}, "loss_weights: expected none beside one loss"),
    ],
)  # fmt: skip
def test_what_compile_refuses(options, text):
    with pytest.raises(ValueError, match=f"compile: {text}"):
        Model(Heads("dict")).compile("sgd", **options)


@pytest.mark.parametrize(
    ("form", "loss", "y", "text"),
    [
        (
            "dict",
            {"a": "mse", "c": "mse"},
            {"a": A, "c": B},
            "fit: prediction: .*'a', 'c', as loss",
        ),
        (
            "dict",
            BOTH,
            {"a": A},
            "fit: y: expected outputs 'a', 'b', as loss has, got those of 'a'",
        ),
        ("dict", BOTH, (A, B), "fit: y: expected outputs 'a', 'b'"),
        ("dict", BOTH, A, "fit: y: expected outputs .*got ndarray"),
        ("dict", ["mse", "mse"], [A, B], "fit: prediction: expected outputs 0, 1"),
        ("dict", {"a": "mse"}, {"a": A}, "fit: prediction: .*give compile a loss, or None, for"),
        ("tuple", ["mse"] * 3, [A, B, B], "fit: prediction: expected outputs 0, 1, 2"),
        ("tuple", ["mse"] * 2, [A, B, B], "fit: y: expected outputs 0, 1, as loss has, got .*2"),
        ("dict", BOTH, {"a": A, "b": B[:7]}, "y: expected 30 samples, as x has, got 7"),
    ],
)
def test_what_fit_refuses(form, loss, y, text):
    model = Model(Heads(form))
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=text):
        model.fit(X, y, verbose=0)
    if text.startswith("fit: y") and isinstance(y, (dict, list)):
        rows = [(X[i], {k: v[i] for k, v in y.items()} if isinstance(y, dict) else
                 [part[i] for part in y]) for i in range(30)]  # fmt: skip
        with pytest.raises(ValueError, match=text):
            model.fit(DataLoader(rows, 10), verbose=0)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (["mse"], "a tuple of outputs, as loss is a list, got one output, a Tensor; give compile"),
        ({"a": "mse"}, "a dict of outputs, as loss is a dict, got one output, a Tensor"),
    ],
)
def test_several_losses_of_one_output(loss, text):
    model = Model(nn.Linear(3, 1))
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=f"evaluate: prediction: expected {text}"):
        model.evaluate(X, A)


@pytest.mark.parametrize(
    "options", [{"loss": {"a": nn.MSELoss}}, {"loss": nn.MSELoss},
                {"loss": "mse", "metrics": [nn.L1Loss]}]
)  # fmt: skip
def test_a_class_in_place_of_a_loss(options):
    text = r"got the class (\w+); write \2\(\)"
    with pytest.raises(TypeError, match=f"compile: (loss|metrics): expected .*{text}"):
        Model(nn.Linear(3, 1)).compile("sgd", **options)


def test_weights_of_samples_are_those_of_all_outputs_and_classes_have_none():
    weights = {"a": np.ones(30), "b": np.ones(30)}
    text = r"fit: sample_weight: expected one array, for all outputs, got dict; .*loss_weights="
    with pytest.raises(ValueError, match=text):
        new_model("dict").fit(X, {"a": A, "b": B}, sample_weight=weights, verbose=0)
    text = "fit: class_weight: expected one kind of targets, got several; give sample_weight"
    with pytest.raises(ValueError, match=text):
        new_model("list").fit(X, [A, B], class_weight={0: 1.0, 1: 2.0}, verbose=0)


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_validation_targets_are_looked_at_before_the_first_epoch(form):
    model, seen = new_model(form), []
    report = callbacks.Every(1, seen.append)
    held_out = X, as_given(form, A, X)
    with pytest.raises(ValueError, match=r"binary_crossentropy: y: expected shape \(30, 1\)"):
        model.fit(X, as_given(form, A, B), verbose=0, validation_data=held_out, callbacks=[report])
    assert not seen


def test_a_table_of_tensors_has_one_target():
    model = Model(Heads("tuple"))
    model.compile("sgd", ["mse", "mse"])
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(A)), 10)
    with pytest.raises(ValueError, match="fit: y: expected outputs 0, 1, as loss has, got Tensor"):
        model.fit(loader, verbose=0)


def test_weights_beside_losses_of_the_models_own():
    class Own(Model):
        def losses(self, batch):
            return {"loss": self(batch.x).square().mean()}

    with pytest.raises(ValueError, match="compile: loss: expected none, nor metrics, as"):
        Own(nn.Linear(3, 1)).compile("sgd", loss_weights={"loss": 2.0})
