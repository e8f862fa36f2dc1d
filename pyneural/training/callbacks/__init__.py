"""What happens beside the steps of a training, one kind a file."""

from pyneural.training.callback import Callback
from pyneural.training.callbacks.checkpoint import Checkpoint
from pyneural.training.callbacks.ema import EMA
from pyneural.training.callbacks.every import Every, LossWeights, Resample, TimeLimit
from pyneural.training.callbacks.learning_rate import (
    LearningRateScheduler,
    ReduceLROnPlateau,
    TorchScheduler,
    WarmUp,
)
from pyneural.training.callbacks.loggers import CSVLogger, StepHistory, TensorBoard
from pyneural.training.callbacks.monitor import EarlyStopping, ModelCheckpoint
from pyneural.training.callbacks.progress import EpochProgress, Progress
from pyneural.training.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "EMA", "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "EpochProgress", "Every",
    "LearningRateScheduler", "LossWeights", "ModelCheckpoint", "Progress", "ReduceLROnPlateau",
    "Resample", "StepHistory", "TensorBoard", "TerminateOnNaN", "TimeLimit", "TorchScheduler",
    "WarmUp",
]  # fmt: skip
