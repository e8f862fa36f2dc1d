"""Ctrl-C that lets a step end."""

import signal
import threading
from types import FrameType
from typing import Any

from pyneural.training.isolation import is_isolated


class Interrupt:
    """Context in which the first Ctrl-C only sets ``requested``; the second one interrupts.

    Outside of the main thread, where Python delivers no signals, and inside ``isolated`` it does
    nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread() and not is_isolated():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
