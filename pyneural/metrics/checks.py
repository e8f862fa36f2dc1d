"""Checks of samples as rows, shared by the measures."""

from __future__ import annotations

from torch import Tensor

from pyneural.errors import ArgumentError


def check_rows(where: str, least: int = 1, **named: Tensor) -> None:
    """ArgumentError unless all are finite floats [N, D] with the same D >= 1 and N >= ``least``.

    >>> import torch
    >>> check_rows("c2st", x=torch.ones(3, 2), y=torch.ones(4, 5))
    Traceback (most recent call last):
    pyneural.errors.ArgumentError: c2st: x and y: expected [N, D] each, got [3, 2] and [4, 5];
    flatten images to rows
    """
    given = list(named.values())
    good = all(rows.ndim == 2 for rows in given)
    if not good or given[0].shape[1] == 0 or len({rows.shape[1] for rows in given}) > 1:
        shapes = " and ".join(str(list(rows.shape)) for rows in given)
        raise ArgumentError(
            f"{where}: {' and '.join(named)}: expected [N, D] each, got {shapes}; flatten images "
            "to rows"
        )
    for name, rows in named.items():
        if len(rows) < least:
            raise ArgumentError(
                f"{where}: {name}: expected at least {least:,} rows, got {len(rows):,}; give more "
                "samples"
            )
        if not rows.is_floating_point():
            kind = str(rows.dtype).removeprefix("torch.")
            raise ArgumentError(
                f"{where}: {name}: expected floats, got {kind}; write {name}.float()"
            )
        if not bool(rows.isfinite().all()):
            raise ArgumentError(
                f"{where}: {name}: expected finite numbers, got NaN or infinity; find out where "
                "they come from: to leave them out would change the distribution"
            )
