"""Reading the loss curve: what it says about the training, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """x."""

    findings: tuple


def diagnose(loss: Sequence[float], val_loss: Sequence[float] | None = None) -> Diagnosis:
    """X."""
    return Diagnosis(())
