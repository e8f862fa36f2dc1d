"""Parameter estimation for state-space models: maximum likelihood, expectation-maximisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.models.state_space.state_space_model import StateSpaceModel
from pyneural.ops.reference.kalman import symmetric
from pyneural.progress import progress

PARAMETERS = ("transition", "observation", "process_noise", "observation_noise")
_INPUTS = ("control", "feedthrough")
_NOISES = ("process_noise", "observation_noise")
_EVALUATIONS = 25  # of the likelihood, at most, in one step of L-BFGS


@dataclass(frozen=True)
class StateSpaceFit:
    """An estimated model and the log-likelihood during the fit."""

    model: StateSpaceModel
    log_likelihoods: list[float]  # before the first step and after each

    @property
    def converged(self) -> bool:
        """Whether the last step changed the log-likelihood by no more than 1e-9 of it."""
        if len(self.log_likelihoods) < 2:
            return False
        before, last = self.log_likelihoods[-2:]
        return abs(last - before) <= 1e-9 * abs(last)


def fit_by_likelihood(
    start: StateSpaceModel,
    y: Any,
    free: Sequence[str] = PARAMETERS,
    steps: int = 100,
    u: Any = None,
) -> StateSpaceFit:
    """Maximum likelihood by L-BFGS, with the gradient of the Kalman filter.

    It ends after ``steps`` or where a step changes the log-likelihood by no more than 1e-9 of it;
    ``converged`` of the result says which.

    Q and R are parametrised as L L^T with a positive diagonal of L. The states are identifiable
    only up to a change of basis: keep "observation" or "transition" fixed to identify the others.

    Args:
        start: initial guess; its initial mean and covariance are kept.
        y: [..., T, p], NaN where nothing was observed; the log-likelihoods of a batch are summed.
        free: which of "transition", "observation", "process_noise", "observation_noise", "control"
            and "feedthrough" to estimate; the others are kept.
        steps: maximum number of L-BFGS steps.
        u: inputs, [..., T, k], where the model takes them.

    Raises:
        ValueError: an unknown name; a matrix that differs from step to step, or that the model does
            not have; a singular covariance as initial guess; the errors of ``StateSpaceModel``.

    Source: Schweppe 1965; Durbin and Koopman 2012, chapter 7.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> walk = StateSpaceModel(one, one, one, one, one[0], one)
    >>> _, y = walk.simulate(100, seed=0)
    >>> start = StateSpaceModel(one, one, 4 * one, 4 * one, one[0], one)
    >>> found = fit_by_likelihood(start, y, ("process_noise", "observation_noise"))
    >>> found.log_likelihoods[-1] > float(walk.filter(y).log_likelihood)
    True
    """
    _check_free("fit_by_likelihood", start, free, (*PARAMETERS, *_INPUTS))
    unknowns = {name: _unknown(name, getattr(start, name)) for name in free}

    def model() -> StateSpaceModel:
        return replace(start, **{name: _value(name, unknowns[name]) for name in unknowns})

    optimizer = torch.optim.LBFGS(
        [*unknowns.values()], max_iter=1, max_eval=_EVALUATIONS, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = model().filter(y, u)
        value = -found.log_likelihood.sum() / found.mean[..., 0].numel()
        value.backward()
        return value

    fit = StateSpaceFit(start, [float(start.filter(y, u).log_likelihood.sum())])
    for _ in progress("likelihood", range(whole("fit_by_likelihood: steps", steps))):
        optimizer.step(loss)
        with torch.no_grad():
            fit.log_likelihoods.append(float(model().filter(y, u).log_likelihood.sum()))
        if fit.converged:
            break
    values = {name: _value(name, unknown).detach() for name, unknown in unknowns.items()}
    return replace(fit, model=replace(start, **values))


def fit_by_em(
    start: StateSpaceModel, y: Any, free: Sequence[str] = PARAMETERS, steps: int = 50
) -> StateSpaceFit:
    """Expectation-maximisation: the log-likelihood never decreases.

        Phi = S_10 S_00^-1,  H = (sum y x^T) (sum x x^T)^-1,  Q and R the residuals' means

    with expectations over the smoothed states and the missing observations. Arguments and errors
    are those of ``fit_by_likelihood``; the model is the same at all steps and takes no inputs.

    Source: Shumway and Stoffer, Journal of Time Series Analysis 3, 253 (1982).

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> walk = StateSpaceModel(one, one, one, one, one[0], one)
    >>> found = fit_by_em(walk, walk.simulate(50)[1], ("process_noise",), steps=3)
    >>> found.log_likelihoods == sorted(found.log_likelihoods)
    True
    """
    _check_free("fit_by_em", start, free, PARAMETERS)
    if start.steps is not None or start.control is not None or start.feedthrough is not None:
        raise ValueError(
            "fit_by_em: start: expected a model that is the same at all steps and takes no inputs, "
            "got another; fit_by_likelihood estimates such models"
        )
    y = start.observed(y)
    model, reached = start, []
    with torch.no_grad():
        for _ in progress("EM", range(whole("fit_by_em: steps", steps))):
            model, before = _em_step(model, y, free)
            reached.append(before)
        reached.append(float(model.filter(y).log_likelihood.sum()))
    return StateSpaceFit(model, reached)


def _em_step(
    model: StateSpaceModel, y: Tensor, free: Sequence[str]
) -> tuple[StateSpaceModel, float]:
    """The next model, and the log-likelihood of the present one."""
    known = model.smooth(y)
    outer = lambda a, b: a[..., :, None] * b[..., None, :]  # noqa: E731
    xx = outer(known.mean, known.mean) + known.covariance
    lag = outer(known.mean[..., 1:, :], known.mean[..., :-1, :]) + known.lag_covariance
    s11, s00, s10 = (
        part.flatten(0, -3).sum(0) for part in (xx[..., 1:, :, :], xx[..., :-1, :, :], lag)
    )
    new: dict[str, Tensor] = {}
    phi = new["transition"] = _solve(free, "transition", model, s10, s00)
    transitions = known.lag_covariance[..., 0, 0].numel()
    new["process_noise"] = symmetric(
        (s11 - phi @ s10.mT - s10 @ phi.mT + phi @ s00 @ phi.mT) / max(transitions, 1)
    )
    # y = b + A x + e: observed components are known, missing ones follow from these and from x.
    H, R = model.observation, model.observation_noise
    mask = (~y.isnan()).to(y.dtype)
    M = torch.diag_embed(mask)
    R_seen = M @ R @ M + torch.diag_embed(1 - mask)
    D = torch.linalg.solve(R_seen, M @ R).mT @ M
    b = (D @ y.nan_to_num()[..., None])[..., 0]
    A = H - D @ H
    C = R - D @ R
    bx = outer(b, known.mean)
    yx = bx + A @ xx
    yy = outer(b, b) + bx @ A.mT + (bx @ A.mT).mT + A @ xx @ A.mT + C
    sum_yx, sum_yy, sum_xx = (part.flatten(0, -3).sum(0) for part in (yx, yy, xx))
    H = new["observation"] = _solve(free, "observation", model, sum_yx, sum_xx)
    residual = sum_yy - H @ sum_yx.mT - sum_yx @ H.mT + H @ sum_xx @ H.mT
    new["observation_noise"] = symmetric(residual / mask[..., 0].numel())
    chosen = {name: new[name] for name in free}
    return replace(model, **chosen), float(known.log_likelihood.sum())


def _solve(free: Sequence[str], name: str, model: StateSpaceModel, a: Tensor, b: Tensor) -> Tensor:
    """The matrix a b^-1 if ``name`` is to be estimated, otherwise that of the model."""
    return torch.linalg.solve(b, a, left=False) if name in free else getattr(model, name)


def _check_free(
    where: str, start: StateSpaceModel, free: Sequence[str], allowed: Sequence[str]
) -> None:
    unknown = [name for name in free if name not in allowed]
    if unknown or not free or isinstance(free, str):
        raise ValueError(
            f"{where}: free: expected some of {', '.join(allowed)}, got {free!r}; choose these"
        )
    for name in free:
        matrix = getattr(start, name)
        if matrix is None or matrix.dim() != 2:
            got = "none" if matrix is None else f"one for each of {len(matrix)} steps"
            raise ValueError(
                f"{where}: free: expected matrices that are the same at all steps, got {name!r}, "
                f"of which the model has {got}; keep it fixed"
            )


def _unknown(name: str, start: Tensor) -> Tensor:
    """Variables of the optimiser: for a covariance its Cholesky factor, diagonal as logarithm."""
    if name not in _NOISES:
        return start.detach().clone().requires_grad_()
    factor, failed = torch.linalg.cholesky_ex(start.detach())
    if failed:
        raise ValueError(
            f"fit_by_likelihood: {name}: expected a positive definite initial guess, got smallest "
            f"eigenvalue {float(torch.linalg.eigvalsh(start)[0]):.3g}; increase the variances"
        )
    return (factor.tril(-1) + factor.diagonal().log().diag()).requires_grad_()


def _value(name: str, unknown: Tensor) -> Tensor:
    if name not in _NOISES:
        return unknown
    factor = unknown.tril(-1) + unknown.diagonal().exp().diag()
    return factor @ factor.mT
