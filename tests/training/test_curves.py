"""Curves that say what was measured: names, directions, and metrics of a whole pass."""

import numpy as np
import pytest
import torch
from torch import nn

sklearn_metrics = pytest.importorskip("sklearn.metrics")

from pyneural.training import (  # noqa: E402
    LBFGS,
    Adam,
    Batch,
    Model,
    Sequential,
    TensorBatches,
    Trainable,
    Trainer,
    callbacks,
)
from pyneural.training.callbacks.monitor import Monitor  # noqa: E402
from pyneural.training.evaluation import Meter, by_name  # noqa: E402
from pyneural.training.losses.metrics import direction  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(101, 3)).astype("float32")
Y = (X @ RANDOM.normal(size=(3, 2)) + RANDOM.normal(size=(101, 2))).astype("float32")


def linear(outputs, activation=None):
    torch.manual_seed(0)
    return Sequential([nn.Linear(3, outputs), *([activation] if activation else [])])


REGRESSION = {
    "r2": sklearn_metrics.r2_score,
    "rmse": lambda y, a: np.sqrt(sklearn_metrics.mean_squared_error(y, a)),
}


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 101])
def test_regression_metrics_are_those_of_all_samples(name, outputs, batch_size):
    model = linear(outputs)
    model.compile("sgd", "mse", [name])
    y = 100 + Y[:, :outputs]
    _, found = model.evaluate(X, y, batch_size)
    assert found == pytest.approx(REGRESSION[name](y, model.predict(X)), rel=1e-6)
    history = model.fit(X, y, batch_size, validation_data=(X, y), verbose=0)
    expected = REGRESSION[name](y, model.predict(X))
    assert history[f"val_{name}"][0] == pytest.approx(expected, rel=1e-5)


def scores(kind):
    if kind == "probability":
        return nn.Sigmoid(), "bce", (X[:, :1] + X[:, 1:2] > 0.5).astype("float32")
    if kind == "logit":
        return None, nn.BCEWithLogitsLoss(), (X[:, :1] + X[:, 1:2] > 0.5).astype("float32")
    if kind == "hinge":
        return None, "hinge", np.where(X[:, :1] + X[:, 1:2] > 0.5, 1.0, -1.0)
    if kind == "labels":
        return nn.Sigmoid(), "bce", (Y > 0).astype("float32")
    if kind == "one-hot":
        classes = np.where(X[:, 0] > 0.5, 2, X[:, 1] > 0)
        return nn.Softmax(-1), "categorical_crossentropy", np.eye(4)[classes]  # 3 never comes
    return (
        nn.Softmax(-1),
        "sparse_categorical_crossentropy",
        np.where(X[:, 0] > 0.5, 2, X[:, 1] > 0),
    )


def expected_of(name, kind, y, a):
    if kind in ("probability", "logit", "hinge"):
        truth, score = y[:, 0] > 0, a[:, 0]
        found, average = score > (0.5 if kind == "probability" else 0), "binary"
    elif kind == "labels":
        truth, score, found, average = y > 0.5, a, a > 0.5, "macro"
    else:
        truth, score = y.argmax(1) if y.ndim > 1 else y, a
        found, average = a.argmax(1), "macro"
    if name == "auc":
        if kind in ("one-hot", "classes"):
            present = np.unique(truth)
            each = [sklearn_metrics.roc_auc_score(truth == k, score[:, k]) for k in present]
            return np.mean(each)
        return sklearn_metrics.roc_auc_score(truth, score)
    function = getattr(sklearn_metrics, f"{name}_score")
    return function(truth, found, average=average, zero_division=0)


KINDS = ["probability", "logit", "hinge", "labels", "one-hot", "classes"]


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "auc"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 8, 101])
def test_classification_metrics_are_those_of_all_samples(name, kind, batch_size):
    activation, loss, y = scores(kind)
    if kind == "one-hot" and name == "auc":
        y = y[:, :3]  # a class without samples has no area
    model = linear(y.shape[1] if y.ndim == 2 else 3, activation)
    model.compile("sgd", loss, [name])
    _, found = model.evaluate(X, y, batch_size)
    expected = expected_of(name, kind, y, model.predict(X))
    tolerance = 5e-3 if name == "auc" else 1e-6
    assert found == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("scale", [0.05, 1.0, 2.0])
def test_area_where_scores_crowd(scale):
    # 200 thresholds, as Keras has them, give 0.5 for scores that crowd near 0 or 1.
    score = scale * RANDOM.normal(size=(4000, 1)) + 5 * scale
    y = (RANDOM.random((4000, 1)) < 1 / (1 + np.exp(-(score / scale - 5)))).astype("float64")
    model = Model(nn.Sigmoid())
    model.module.register_parameter("w", nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    model.compile("sgd", "bce", ["auc"])
    _, found = model.evaluate(score.clip(-12, 12), y, 256)
    expected = sklearn_metrics.roc_auc_score(y, model.predict(score.clip(-12, 12)))
    assert found == pytest.approx(expected, abs=5e-3)


def test_limits_of_pass_metrics():
    model = linear(1)
    model.compile("sgd", "mse", ["r2"])
    constant = np.full((101, 1), 3.0)
    assert model.evaluate(X, constant, 7)[1] == 0.0
    classify = linear(1, nn.Sigmoid())
    classify.compile("sgd", "bce", ["auc", "f1"])
    _, auc, f1 = classify.evaluate(X, np.zeros((101, 1)), 7)
    assert np.isnan(auc)
    assert f1 == 0.0


def test_pass_metrics_by_accumulation_and_by_solvers_of_long_steps():
    model = linear(2)
    model.compile("sgd", "mse", ["rmse", "mae"], accumulation_steps=3)
    history = model.fit(X, Y, 101, verbose=0)
    assert history["rmse"][0] == pytest.approx(np.sqrt(history["loss"][0]), rel=1e-5)
    batches = TensorBatches(torch.from_numpy(X), torch.from_numpy(Y), batch_size=101)
    report = Trainer(model, [Adam(1), LBFGS(2)], batches=batches, progress=False).fit()
    np.testing.assert_allclose(np.square(report.history["rmse"]), report.history["loss"], rtol=1e-5)


def loss(prediction, y):
    return (prediction - y).abs().mean()


def val_mae(prediction, y):
    return (prediction - y).abs().mean()


def mae(prediction, y):
    return (prediction - y).abs().mean()


def learning_rate(prediction, y):
    return (prediction - y).abs().mean()


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ([loss], "'loss', which is a curve already"),
        ([val_mae], "'val_mae', which is a curve already"),
        ([learning_rate], "'learning_rate', which is a curve already"),
        (["mae", mae], "'mae' twice"),
        ([lambda a, y: a.mean(), lambda a, y: y.mean()], "'<lambda>' twice"),
        (["accuracy", "accuracy"], "'accuracy' twice"),
    ],
)
def test_no_curve_takes_the_name_of_another(metrics, text):
    with pytest.raises(ValueError, match=f"compile: metrics: expected names that differ.*{text}"):
        linear(2).compile("sgd", "mse", metrics)


def test_a_term_named_loss_beside_others_is_refused():
    class Two(Trainable):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

        def losses(self, batch):
            return {"loss": self.w.square(), "other": self.w.square()}

    with pytest.raises(ValueError, match="'loss' to be the only term minimised, got 'loss' beside"):
        Trainer(Two(), [Adam(1)], progress=False).fit()


def test_directions():
    smaller = ["loss", "val_loss", "mse", "val_mae", "rmse", "root_mean_squared_error", "my_error"]
    larger = ["acc", "val_accuracy", "val_auc", "f1", "val_r2", "r2_score", "precision", "recall"]
    assert {direction(name) for name in smaller} == {"min"}
    assert {direction(name) for name in larger} == {"max"}
    for name in ("score", "val_x", "r2_error"):
        assert direction(name) is None
        with pytest.raises(ValueError, match=rf"'min' or 'max', got 'auto' for '{name}'"):
            Monitor("EarlyStopping", name)
        assert Monitor("EarlyStopping", name, "max").mode == "max"


def test_the_best_r2_is_kept(tmp_path):
    model, path = linear(2), tmp_path / "best.safetensors"
    model.compile("sgd", "mse", ["r2"])
    save = callbacks.ModelCheckpoint(path, "val_r2", save_best_only=True)
    model.fit(X, Y, epochs=5, validation_data=(X, Y), verbose=0, callbacks=[save])
    assert save.monitor.best == pytest.approx(model.evaluate(X, Y)[1], rel=1e-6)  # the last
    callbacks.ModelCheckpoint(path, "x")  # which is not asked


@pytest.mark.parametrize(
    "make",
    [
        lambda: callbacks.EarlyStopping("val_mae"),
        lambda: callbacks.EarlyStopping("maee", mode="min"),
        lambda: callbacks.ReduceLROnPlateau(),
        lambda: callbacks.ModelCheckpoint("x", "accuracy", save_best_only=True),
    ],
)
def test_a_missing_monitor_is_found_before_the_first_epoch(make):
    model = linear(2)
    model.compile("sgd", "mse", ["mae"])
    before = model[0].weight.clone()
    with pytest.raises(ValueError, match=r"monitor: expected one of loss, mae, "):
        model.fit(X, Y, verbose=0, callbacks=[make()])
    assert torch.equal(model[0].weight, before)
    model.fit(X, Y, verbose=0, callbacks=[callbacks.EarlyStopping("mae", patience=9)])


class Adds(callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        logs["score"] = 1.0


def test_a_callback_may_add_what_another_one_watches():
    model = linear(2)
    model.compile("sgd", "mse")
    stop = callbacks.EarlyStopping("score", mode="max")
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[Adds(), stop])
    assert stop.monitor.best == 1.0
    rates = callbacks.LearningRateScheduler(lambda epoch: 0.1)
    watch = callbacks.EarlyStopping("learning_rate", mode="min", patience=9)
    model.fit(X, Y, verbose=0, callbacks=[rates, watch])


@pytest.mark.parametrize(
    ("weight", "target", "text"),
    [
        (1e22, 1.0, r"the largest weight is 1e\+22 \(in 0\.weight\), the largest output"),
        (1.0, 1e30, r"the largest weight is 1 .* the largest target 1e\+30"),
    ],
)
def test_terminate_on_nan_says_what_is_true(weight, target, text):
    model = linear(1)
    nn.init.constant_(model[0].weight, weight)
    nn.init.zeros_(model[0].bias)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=f"every layer is finite, so that.*{text}"):
        model.fit(X, np.full((101, 1), target), verbose=0, callbacks=[callbacks.TerminateOnNaN()])


@pytest.mark.parametrize("names", [["rmse"], ["r2", "mae"], ["f1", "auc"]])
def test_metrics_of_several_processes_are_those_of_one(names):
    model = linear(1, nn.Sigmoid())
    model.compile("sgd", "bce", names)
    y = (Y[:, :1] > 0).astype("float32")
    expected = model.evaluate(X, y, return_dict=True)
    meters = [Meter(), Meter()]
    with torch.no_grad():
        for meter, rows in zip(meters, (slice(0, 70), slice(70, 101)), strict=True):
            batch = Batch(torch.from_numpy(X[rows]), torch.from_numpy(y[rows]), None, 0, 1.0)
            losses = model.losses(batch)
            meter.add(list(losses.values()), len(batch.x))

    class Group:  # of two processes, of which the other one has the second meter
        size = 2

        def sum(self, sums):
            flat = [t for total in other for t in (total if isinstance(total, list) else [total])]
            return sums + torch.tensor([*flat, 31.0])

    meters[1].read()
    other = meters[1].totals
    found = by_name(model, list(losses), meters[0].means(Group()))
    assert found == pytest.approx(expected, rel=1e-6)
