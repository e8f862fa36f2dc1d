"""Ways to the solution of a differential equation: what each costs, and how wrong it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pyneural.plots import style

Costs = tuple[Sequence[float], Sequence[float], Sequence[str]]


def ways_to_solution(
    x: Tensor,
    profiles: Mapping[str, Tensor],
    amplitudes: Sequence[float],
    orders: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    costs: Mapping[str, Costs],
    *,
    time: float,
    title: str = "",
) -> Any:
    """Solutions at one time, error against amplitude, and error against seconds.

    Args:
        x: positions, [X].
        profiles: u at a time by the name of the way, [X] each, the exact one first.
        amplitudes: of the initial condition, [A].
        orders: by name, measured errors and those that theory predicts, [A] each.
        costs: by the name of the way, seconds, errors, and what each point is ("" for none).
        time: of the profiles.
        title: title of the figure.

    >>> import torch
    >>> x = torch.linspace(-1, 1, 9)
    >>> figure = ways_to_solution(
    ...     x, {"exact": x, "PINN": x}, [0.1, 1.0], {"linear": ([0.1, 1.0], [0.1, 1.0])},
    ...     {"PINN": ([1.0, 10.0], [0.1, 0.01], ["", "20 s"])}, time=0.5,
    ... )
    >>> len(figure.axes)
    3
    """
    names = dict.fromkeys([*list(profiles)[1:], *costs, *orders])
    colors = dict(zip(names, style.CYCLE, strict=False))
    with style.figure(14, 8) as figure:
        if title:
            figure.suptitle(title, fontsize=16, x=0.012, ha="left")
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.45))
        shape, order = left.subplots(2, 1)
        _profiles(shape, x, profiles, colors, time)
        _orders(order, amplitudes, orders, colors)
        _costs(right.subplots(), costs, colors)
    return figure


def _profiles(
    axes: Any, x: Tensor, profiles: Mapping[str, Tensor], colors: Mapping[str, str], time: float
) -> None:
    (first, exact), *others = profiles.items()
    axes.plot(x, exact, color="#BBBBBB", linewidth=6, solid_capstyle="round", label=first)
    for name, u in others:
        axes.plot(x, u, color=colors[name], label=name)
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=0)
    axes.set(xlabel="$x$", ylabel="$u$", xlim=(float(x.min()), float(x.max())))
    axes.set_title(f"The solutions for $A = 1$ at $t = {time:g}$")
    axes.locator_params(nbins=5)
    axes.legend(loc="upper right")


def _orders(
    axes: Any, amplitudes: Sequence[float],
    orders: Mapping[str, tuple[Sequence[float], Sequence[float]]], colors: Mapping[str, str],
) -> None:  # fmt: skip
    for name, (measured, predicted) in orders.items():
        axes.loglog(amplitudes, predicted, color=colors[name], linewidth=1.2, zorder=1)
        axes.loglog(
            amplitudes, measured, "o", color=colors[name], markersize=6, label=name, zorder=2
        )
    axes.set(xlabel="amplitude $A$ of the initial condition", ylabel="relative error")
    axes.set_title("Linearised: points measured, lines predicted")
    axes.legend(loc="upper left")


def _costs(axes: Any, costs: Mapping[str, Costs], colors: Mapping[str, str]) -> None:
    for name, (seconds, errors, labels) in costs.items():
        color = colors[name]
        axes.loglog(seconds, errors, "o-", color=color, markersize=7, linewidth=2.2, zorder=3)
        for second, error, label in zip(seconds, errors, labels, strict=True):
            axes.annotate(
                label, (second, error), xytext=(9, 3), textcoords="offset points", color=color
            )
        axes.annotate(
            name, (seconds[-1], errors[-1]), xytext=(0, -24), textcoords="offset points",
            color=color, fontsize=15, ha="center", fontweight="bold",
        )  # fmt: skip
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.set(xlim=(left / 3, right * 8), ylim=(low / 30, high))
    axes.set(xlabel="seconds", ylabel="relative $L_2$ error")
    axes.grid(True, which="major", color="#E4E4E4", linewidth=0.8, zorder=0)
    axes.set_title("What each way costs for $A = 1$")
