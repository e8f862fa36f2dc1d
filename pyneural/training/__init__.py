"""Training: one engine for every model, compile and fit as in Keras, checkpoints, curves.

A ``Trainable`` says what there is to minimise; a ``Solver`` (``Adam``, ``LBFGS``, ``Descent``,
``LevenbergMarquardt``, ``SSBroyden``) what a step does; ``callbacks`` what happens beside it.
``Model.fit``, ``models.PINN.fit`` and ``Trainer.fit`` run the same loop.
"""

from pyneural.training import callbacks
from pyneural.training.callbacks import StepHistory
from pyneural.training.data.batches import AllData, Batch, Batches, LoaderBatches, TensorBatches
from pyneural.training.data.split import ThreeWaySplit
from pyneural.training.diagnosis import Diagnosis, diagnose
from pyneural.training.estimator import Classifier, Regressor
from pyneural.training.history import History
from pyneural.training.hyperparameters import count_hyperparameters
from pyneural.training.model import Model
from pyneural.training.paths import check_writable
from pyneural.training.run import Run
from pyneural.training.sequential import Sequential, load_model
from pyneural.training.solvers.base import Phase, PhaseReport, Solver, Task
from pyneural.training.solvers.descent import Adam, Descent
from pyneural.training.solvers.gauss_newton_cg import GaussNewtonCG
from pyneural.training.solvers.lbfgs import LBFGS
from pyneural.training.solvers.levenberg_marquardt import LevenbergMarquardt
from pyneural.training.solvers.quasi_newton import SSBFGS, SSBroyden
from pyneural.training.solvers.spring import SPRING
from pyneural.training.state.file import CheckpointError, load_checkpoint, save_checkpoint
from pyneural.training.summary import count_parameters
from pyneural.training.trainable import Trainable
from pyneural.training.trainer import Trainer, TrainingReport

__all__ = [
    "LBFGS", "SPRING", "SSBFGS", "Adam", "AllData", "Batch", "Batches",
    "CheckpointError", "Classifier", "Descent", "Diagnosis", "GaussNewtonCG", "History",
    "LevenbergMarquardt", "LoaderBatches", "Model", "Phase", "PhaseReport", "Regressor", "Run",
    "SSBroyden", "Sequential", "Solver", "StepHistory", "Task", "TensorBatches", "ThreeWaySplit",
    "Trainable", "Trainer", "TrainingReport", "callbacks", "check_writable",
    "count_hyperparameters", "count_parameters", "diagnose", "load_checkpoint", "load_model",
    "save_checkpoint",
]  # fmt: skip
