"""Training: compile and fit as in Keras, trainers of equations, checkpoints, curves."""

from pyneural.training import callbacks
from pyneural.training.adadelta import Adadelta
from pyneural.training.checkpoint import (
    CheckpointError,
    check_writable,
    load_checkpoint,
    save_checkpoint,
)
from pyneural.training.diagnosis import Diagnosis, diagnose
from pyneural.training.history import History
from pyneural.training.model import Model
from pyneural.training.objective import Trainable
from pyneural.training.phases import LBFGS, Adam, Phase
from pyneural.training.sequential import Sequential, load_model
from pyneural.training.split import ThreeWaySplit
from pyneural.training.step_history import StepHistory
from pyneural.training.summary import count_hyperparameters, count_parameters
from pyneural.training.trainer import PhaseReport, Trainer, TrainingReport

__all__ = [
    "LBFGS",
    "Adadelta",
    "Adam",
    "CheckpointError",
    "Diagnosis",
    "History",
    "Model",
    "Phase",
    "PhaseReport",
    "Sequential",
    "StepHistory",
    "ThreeWaySplit",
    "Trainable",
    "Trainer",
    "TrainingReport",
    "callbacks",
    "check_writable",
    "count_hyperparameters",
    "count_parameters",
    "diagnose",
    "load_checkpoint",
    "load_model",
    "save_checkpoint",
]
