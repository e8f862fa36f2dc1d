"""What a line of ``python -m bench peak`` is: a call, and what it cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Work(NamedTuple):
    """A call, and the operations or the bytes that it cannot do without."""

    call: Callable[[], Any]
    amount: int
