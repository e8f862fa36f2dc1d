"""What happens beside the updates of a ``fit``, one kind a file."""

from pyneural.training.callbacks.base import Callback
from pyneural.training.callbacks.early_stopping import EarlyStopping
from pyneural.training.callbacks.ema import EMA
from pyneural.training.callbacks.learning_rate import (
    LearningRateScheduler,
    ReduceLROnPlateau,
    TorchScheduler,
    WarmUp,
)
from pyneural.training.callbacks.loggers import CSVLogger, TensorBoard
from pyneural.training.callbacks.model_checkpoint import ModelCheckpoint
from pyneural.training.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "EMA",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "TorchScheduler",
    "WarmUp",
]
