"""Models in scikit-learn's hands."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pyneural import layers
from pyneural.training import Classifier, Regressor, Sequential

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 3)) * [1, 10, 100]
Y = X @ [1.0, 0.1, 0.01]
LABELS = np.array(["low", "mid", "top"])[np.digitize(Y, [-0.7, 0.7])]


def regression(width=8, rate=0.02):
    model = Sequential([layers.Dense(width, "tanh"), layers.Dense(1)])
    model.compile(lambda p: torch.optim.Adam(p, lr=rate), "mse", ["mae", "r2"])
    return model


def classes(units=3):
    last = layers.Dense(units, "softmax" if units > 1 else "sigmoid")
    model = Sequential([layers.Dense(8, "tanh"), last])
    loss = "sparse_categorical_crossentropy" if units > 1 else "bce"
    model.compile(lambda p: torch.optim.Adam(p, lr=0.02), loss, ["accuracy"])
    return model


def pickled():
    model = Sequential([layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile("adam", "mse", ["mae", "rmse", "accuracy"])
    return model


def test_regressor_in_a_pipeline():
    steps = make_pipeline(StandardScaler(), Regressor(regression, epochs=40, seed=0))
    scores = cross_val_score(steps, X, Y, cv=3)
    assert scores.min() > 0.8
    np.testing.assert_array_equal(scores, cross_val_score(steps, X, Y, cv=3))
    fitted = steps.fit(X, Y)
    assert fitted.score(X, Y) == pytest.approx(r2_score(Y, fitted.predict(X)))
    assert fitted.predict(X).shape == (90,)
    assert is_regressor(fitted[-1])


@pytest.mark.parametrize("labels", [LABELS, np.digitize(Y, [0.0]), np.digitize(Y, [-0.7, 0.7]) + 5])
def test_classifier(labels):
    number = len(np.unique(labels))
    model = Classifier(classes, units=number if number > 2 else 1, epochs=60, seed=0)
    steps = make_pipeline(StandardScaler(), model).fit(X, labels)
    assert set(steps.predict(X)) <= set(labels)
    assert steps.score(X, labels) == np.mean(steps.predict(X) == labels) > 0.7
    found = steps.predict_proba(X)
    assert found.shape == (90, number)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    assert is_classifier(steps[-1])
    assert cross_val_score(steps, X, labels, cv=3).min() > 0.5


def test_search_over_arguments_of_build_and_of_fit():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Regressor(regression, seed=0)),
        {"regressor__width": [1, 8], "regressor__epochs": [1, 30]},
        cv=2,
    ).fit(X, Y)
    assert search.best_params_["regressor__epochs"] == 30
    with pytest.raises(ValueError, match=r"Regressor\.set_params: expected one of .*got 'wide'"):
        Regressor(regression).set_params(wide=3)
    with pytest.raises(TypeError, match="Regressor: build: expected a function"):
        Regressor(3)


def test_clones_and_what_is_not_fitted():
    model = Regressor(regression, width=4, epochs=2)
    other = clone(model.fit(X, Y))
    assert other.get_params() == model.get_params()
    assert not hasattr(other, "model_")
    with pytest.raises(NotFittedError, match="call fit first"):
        other.predict(X)
    assert repr(other) == "Regressor(regression, width=4, epochs=2)"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_pickled_and_copied(copied):
    model = Regressor(pickled, epochs=2, seed=0).fit(X, Y)
    again = copied(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    bare = copied(model.model_)
    bare.fit(X, Y, verbose=0)
    assert not np.array_equal(bare.predict(X), model.model_.predict(X))
    held = {id(p) for group in bare.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in bare.parameters()}


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c"], index=RANDOM.permutation(90))
    model = Regressor(regression, epochs=1).fit(frame, pandas.Series(Y, index=frame.index))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.n_features_in_ == 3
    with pytest.raises(ValueError, match="expected the columns"):
        model.predict(frame[["c", "b", "a"]])


def test_losses_of_torch_are_pickled_too():
    model = Sequential([nn.Linear(3, 1)])
    model.compile("sgd", nn.HuberLoss(), ["rmse"])
    again = pickle.loads(pickle.dumps(model))
    assert again.evaluate(X, Y) == pytest.approx(model.evaluate(X, Y))
