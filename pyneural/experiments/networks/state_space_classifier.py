"""Classes of series, by the state-space model that makes them most probable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyneural.errors import check_argument, wholes
from pyneural.models import StateSpaceModel, fit_by_em

_FIELDS = ("transition", "observation", "process_noise", "observation_noise", "initial_mean",
           "initial_covariance")  # fmt: skip
_BLUR = 0.05  # added to the readings: a pixel that is always 0 has no variance


class StateSpaceClassifier(torch.nn.Module):
    """A linear state-space model for each class; log p(class) = log-likelihood + const.

        log p(k | y) = log p(y | Phi_k, H_k, Q_k, R_k) + const

    for classes that are equally frequent. The models are fitted by expectation-maximisation, each
    to the series of its class, from a random start.

    Args:
        outputs: readings p of a step.
        states: components n of a state.
        classes: number of them.

    Shape:
        series [N, T, p] to [N, classes].

    Raises:
        ValueError: counts below 1; a class without series.

    >>> net = StateSpaceClassifier(outputs=2, states=2, classes=2)
    >>> y = torch.randn(20, 6, 2).cumsum(1)
    >>> net.fit(y, torch.arange(20) % 2, steps=2)
    >>> net(y).shape
    torch.Size([20, 2])
    """

    def __init__(self, outputs: int, states: int, classes: int) -> None:
        super().__init__()
        outputs, states, classes = wholes(
            "StateSpaceClassifier", outputs=outputs, states=states, classes=classes
        )
        got = (outputs, states, classes)
        good, where = min(got) >= 1, "StateSpaceClassifier: outputs, states, classes"
        check_argument(good, where, "numbers >= 1", got, "write 8, 4, 10")
        like: Any = {"dtype": torch.float64}
        start = {
            "transition": 0.5 * torch.eye(states, **like).expand(classes, -1, -1),
            "observation": 0.3 * torch.randn(classes, outputs, states, **like),
            "process_noise": 0.1 * torch.eye(states, **like).expand(classes, -1, -1),
            "observation_noise": 0.1 * torch.eye(outputs, **like).expand(classes, -1, -1),
            "initial_mean": torch.full((classes, states), 0.1, **like),
            "initial_covariance": torch.eye(states, **like).expand(classes, -1, -1),
        }
        for name, value in start.items():
            self.register_parameter(name, torch.nn.Parameter(value.clone(), requires_grad=False))

    @property
    def models(self) -> list[StateSpaceModel]:
        """The model of each class."""
        fields = [getattr(self, name) for name in _FIELDS]
        return [StateSpaceModel(*matrices) for matrices in zip(*fields, strict=True)]

    @torch.no_grad()
    def fit(self, y: Tensor, labels: Tensor, steps: int = 20) -> None:
        """Expectation-maximisation: ``steps`` for each class, from series [N, T, p], labels [N]."""
        noisy = y.double() + _BLUR * torch.randn(y.shape, dtype=torch.float64)
        for index, model in enumerate(self.models):
            series = noisy[labels == index]
            where = "StateSpaceClassifier.fit: labels"
            check_argument(len(series) > 0, where, f"series of class {index}", "none", "add some")
            found = fit_by_em(model, series, steps=steps).model
            for name in _FIELDS:
                getattr(self, name)[index] = getattr(found, name)

    @torch.no_grad()
    def forward(self, y: Tensor) -> Tensor:
        """Log-likelihoods [N, classes] of series [N, T, p]."""
        y = y.double()
        return torch.stack([model.filter(y).log_likelihood for model in self.models], 1)
