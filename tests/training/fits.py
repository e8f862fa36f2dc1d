"""A small training with all that a checkpoint has to bring back, for tests in several processes."""

import numpy as np
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from pyneural.training import Sequential, callbacks

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(90, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def new_model(dropout=0.3, **options):
    torch.manual_seed(3)
    model = Sequential(
        [nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)]
    )
    model.compile("adam", "mse", ["mae"], **options)
    return model


def new_callbacks():
    milestones = [4, 30]  # kept by the scheduler under keys that are numbers
    return [
        callbacks.TorchScheduler(lambda o: lr_scheduler.MultiStepLR(o, milestones), "batch"),
        callbacks.ReduceLROnPlateau(patience=1, min_delta=10.0),
        callbacks.EarlyStopping(patience=50, restore_best_weights=True),
        callbacks.EMA(0.9),
    ]


def loader(generator=None):
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return DataLoader(data, batch_size=16, shuffle=True, generator=generator)


def train(model, data="arrays", epochs=6, extra=(), **options):
    given = {
        "arrays": lambda: (X, Y, 16),
        "loader": lambda: (loader(),),
        "own generator": lambda: (loader(torch.Generator().manual_seed(5)),),
    }[data]()
    options = {"verbose": 0, "validation_data": (X[:30], Y[:30])} | options
    return model.fit(*given, epochs=epochs, callbacks=[*new_callbacks(), *extra], **options)


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])
