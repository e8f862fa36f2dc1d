"""Dates in everyday formats and in ISO 8601: a translation with a unique correct answer."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

import torch

from pyneural.errors import wholes

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FIRST, _LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)
_HELD_OUT_EVERY = 5  # every fifth day


def _month(date: datetime.date) -> str:
    return _MONTHS[date.month - 1]


def _ordinal(day: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{'th' if 11 <= day <= 13 else suffix}"


# By an example of each format. Years with two digits are from 1950 to 2049.
DATE_FORMATS: dict[str, Callable[[datetime.date], str]] = {
    "3 March 1987": lambda d: f"{d.day} {_month(d)} {d.year}",
    "March 3, 1987": lambda d: f"{_month(d)} {d.day}, {d.year}",
    "Tuesday, March 3, 1987": lambda d: f"{_DAYS[d.weekday()]}, {_month(d)} {d.day}, {d.year}",
    "the 3rd of March 1987": lambda d: f"the {_ordinal(d.day)} of {_month(d)} {d.year}",
    "3 Mar 87": lambda d: f"{d.day} {_month(d)[:3]} {d.year % 100:02}",
    "3.3.1987": lambda d: f"{d.day}.{d.month}.{d.year}",
    "3/3/87": lambda d: f"{d.day}/{d.month}/{d.year % 100:02}",
}


def dates(
    count: int,
    seed: int = 0,
    *,
    held_out: bool = False,
    formats: Sequence[str] = tuple(DATE_FORMATS),
) -> tuple[list[str], list[str]]:
    """Random dates from 1950 to 2049, each in an everyday format and in ISO 8601.

    The split is fixed and by day: every fifth day is held out in all formats, so that training and
    held-out data have no answer in common.

    Args:
        count: number of pairs N.
        seed: random seed.
        held_out: draw from the held-out days instead of the training days.
        formats: keys of ``DATE_FORMATS``.

    Returns:
        N texts such as "the 3rd of March 1987", and N answers such as "1987-03-03".

    Raises:
        ValueError: an unknown format, or an empty list.

    >>> for text, answer in zip(*dates(3)):
    ...     print(f"{answer}  {text}")
    2008-06-20  Friday, June 20, 2008
    2009-09-07  September 7, 2009
    2021-06-08  Tuesday, June 8, 2021
    """
    unknown = [name for name in formats if name not in DATE_FORMATS]
    if unknown or not formats:
        raise ValueError(
            f"dates: formats: expected some of {'; '.join(DATE_FORMATS)}, got {list(formats)}; "
            "omit the argument for all"
        )
    first, last = _FIRST.toordinal(), _LAST.toordinal()
    days = [day for day in range(first, last + 1) if (day % _HELD_OUT_EVERY == 0) == held_out]
    count, seed = wholes("dates", count=count, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(days), (count,), generator=generator).tolist()
    how = torch.randint(len(formats), (count,), generator=generator).tolist()
    drawn = [datetime.date.fromordinal(days[index]) for index in which]
    texts = [DATE_FORMATS[formats[index]](date) for index, date in zip(how, drawn, strict=True)]
    return texts, [date.isoformat() for date in drawn]
