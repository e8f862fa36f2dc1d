"""What happens beside the steps of a training; ``fit`` is given a list of them.

>>> import tempfile, torch
>>> from pyneural.training import Model
>>> model = Model(torch.nn.Linear(1, 1))
>>> model.compile("sgd", "mse")
>>> log, stop = f"{tempfile.mkdtemp()}/log.csv", EarlyStopping("loss", min_delta=0.01, patience=2)
>>> beside = [LearningRateScheduler(lambda epoch, rate: rate / 2), EMA(0.9), CSVLogger(log), stop]
>>> x = torch.ones(8, 1)
>>> model.fit(x, model(x).detach(), epochs=9, verbose=0, callbacks=beside).stopped
'EarlyStopping: loss was best in epoch 1 (0)'
"""

from pyneural.training.callback import Callback
from pyneural.training.callbacks.adaptive_points import AdaptivePoints
from pyneural.training.callbacks.balancing import (
    Balancing,
    GradientNormWeights,
    NTKWeights,
    ReLoBRaLo,
)
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
from pyneural.training.callbacks.terminate_below import TerminateBelow
from pyneural.training.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "EMA", "AdaptivePoints", "Balancing", "CSVLogger", "Callback", "Checkpoint", "EarlyStopping",
    "EpochProgress", "Every", "GradientNormWeights", "LearningRateScheduler", "LossWeights",
    "ModelCheckpoint", "NTKWeights", "Progress", "ReLoBRaLo", "ReduceLROnPlateau", "Resample",
    "StepHistory", "TensorBoard", "TerminateBelow", "TerminateOnNaN", "TimeLimit",
    "TorchScheduler", "WarmUp",
]  # fmt: skip
