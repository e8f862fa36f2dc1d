"""Models as estimators of scikit-learn, for cross_val_score, Pipeline and GridSearchCV."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from pyneural.errors import whole
from pyneural.training.checks import check
from pyneural.training.history import History
from pyneural.training.model import Model


class _Estimator:
    """Base of ``Regressor`` and ``Classifier``: parameters, cloning, tags."""

    kind: str  # what scikit-learn calls it

    def __init__(self, build: Callable[..., Model], *, seed: int | None = None, **options: Any):
        expected, remedy = "a function that makes a compiled model", "write def build(): ..."
        good, where = callable(build), f"{type(self).__name__}: build"
        check(good, where, expected, repr(build), remedy, TypeError)
        if seed is not None:
            whole(f"{type(self).__name__}: seed", seed)
        self.build, self.seed, self.options = build, seed, options

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What it was made with."""
        return {"build": self.build, "seed": self.seed, **self.options}

    def set_params(self, **given: Any) -> Any:
        """Changes what it was made with; ValueError for what neither build nor fit takes."""
        known = {"build", "seed", *self.options, *_arguments(self.build), *_arguments(Model.fit)}
        for name, value in given.items():
            good, expected = name in known, f"one of {', '.join(sorted(known))}"
            check(good, f"{type(self).__name__}.set_params", expected, repr(name))
            if name in ("build", "seed"):
                setattr(self, name, value)
            else:
                self.options[name] = value
        return self

    def fit(self, x: Any, y: Any, **options: Any) -> Any:
        """Trains a new model; options go before those that the estimator was made with."""
        import torch

        given = {"verbose": 0} | self.options | options
        own = _arguments(self.build)
        with torch.random.fork_rng(enabled=self.seed is not None):
            if self.seed is not None:
                torch.manual_seed(self.seed)
            self.model_ = self.build(**{name: v for name, v in given.items() if name in own})
            rest = {name: v for name, v in given.items() if name not in own}
            self.history_: History = self.model_.fit(x, self._targets(y), **rest)
        self.n_features_in_ = np.shape(x)[1] if np.ndim(x) > 1 else 1
        names = getattr(x, "columns", None)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_clone__(self) -> Any:
        return type(self)(**{k: copy.deepcopy(v) for k, v in self.get_params().items()})

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        classifies = self.kind == "classifier"
        return Tags(
            estimator_type=self.kind,
            target_tags=TargetTags(required=True, multi_output=True, single_output=True),
            transformer_tags=None,
            classifier_tags=ClassifierTags() if classifies else None,
            regressor_tags=None if classifies else RegressorTags(),
            input_tags=InputTags(three_d_array=True),
        )

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({getattr(self.build, '__name__', self.build)}{options})"

    def _targets(self, y: Any) -> Any:
        return y

    def _fitted(self, where: str) -> Model:
        if not hasattr(self, "model_"):
            from sklearn.exceptions import NotFittedError

            got, remedy = "one that is not", "call fit first"
            raise NotFittedError(f"{where}: expected a fitted estimator, got {got}; {remedy}")
        return self.model_


class Regressor(_Estimator):
    """A model as a regressor of scikit-learn.

    Args:
        build: makes a compiled model; module-level where the estimator is pickled.
        seed: of weights and order of the samples; None for torch's generator as it is.
        options: arguments of ``build`` and of ``Model.fit``, as ``epochs=20``.

    >>> from pyneural import layers
    >>> from pyneural.training import Sequential
    >>> def build(width=8):
    ...     model = Sequential([layers.Dense(width, "tanh"), layers.Dense(1)])
    ...     model.compile("adam", "mse")
    ...     return model
    >>> x = np.linspace(-1, 1, 32)[:, None]
    >>> Regressor(build, width=4, epochs=2, seed=0).fit(x, x[:, 0]).predict(x).shape
    (32,)
    """

    kind = "regressor"

    def predict(self, x: Any) -> np.ndarray:
        """Outputs, [N] where there is one, else [N, K]."""
        found = self._fitted("Regressor.predict").predict(x)
        found = np.asarray(found)
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """r2, as all regressors of scikit-learn give."""
        from sklearn.metrics import r2_score

        return float(r2_score(y, self.predict(x), sample_weight=sample_weight))


class Classifier(_Estimator):
    """A model as a classifier of scikit-learn: labels of any kind, numbered in their order.

    The model gives probabilities: a sigmoid with binary_crossentropy, or a softmax with
    sparse_categorical_crossentropy. Arguments as of ``Regressor``.
    """

    kind = "classifier"

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probability of each class, [N, K]."""
        found = np.asarray(self._fitted("Classifier.predict_proba").predict(x))
        one = found.ndim == 1 or found.shape[1] == 1
        return np.hstack([1 - found.reshape(-1, 1), found.reshape(-1, 1)]) if one else found

    def predict(self, x: Any) -> np.ndarray:
        """The label of the most probable class, [N]."""
        return self.classes_[self.predict_proba(x).argmax(1)]

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy."""
        right = self.predict(x) == np.asarray(y)
        return float(np.average(right, weights=sample_weight))

    def _targets(self, y: Any) -> np.ndarray:
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        return numbers


def _arguments(function: Callable[..., Any]) -> set[str]:
    """Names of the arguments."""
    return set(inspect.signature(function).parameters) - {"self", "x", "y"}
