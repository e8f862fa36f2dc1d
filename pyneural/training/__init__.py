"""Trainers: phases of optimisation, progress, history, checkpoints."""

from pyneural.training.checkpoint import (
    CheckpointError,
    check_writable,
    load_checkpoint,
    save_checkpoint,
)
from pyneural.training.history import History
from pyneural.training.objective import Trainable
from pyneural.training.phases import LBFGS, Adam, Phase
from pyneural.training.trainer import PhaseReport, Trainer, TrainingReport

__all__ = [
    "LBFGS",
    "Adam",
    "CheckpointError",
    "History",
    "Phase",
    "PhaseReport",
    "Trainable",
    "Trainer",
    "TrainingReport",
    "check_writable",
    "load_checkpoint",
    "save_checkpoint",
]
