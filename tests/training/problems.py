"""Small problems for the tests of the trainer."""

from pathlib import Path

import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, Trainable, Trainer

PHASES = (Adam(8), LBFGS(12), LBFGS(12))


def small_pinn(seed=0, dtype=torch.float64, **options):
    burgers = pde.Burgers()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = nn.MLP(2, [6, 6], 1, input_range=burgers.domain.range).to(dtype)
    conditions = burgers.conditions(20, generator=generator, dtype=dtype)
    options = {"equation": burgers, "points": 60, "adaptive": True} | options
    return models.PINN(network, conditions, generator=generator, **options)


def small_trainer(checkpoint: Path | None = None, phases=PHASES, every=0.0, **options):
    options = {"progress": False} | options
    return Trainer(small_pinn(), phases, checkpoint=checkpoint, every=every, **options)


class Quartic(Trainable):
    """One loss term, sum of (w - 1)^4, on the way of which a term may become nan."""

    def __init__(self, bad_at=None, start=3.0):
        super().__init__()
        self.w = torch.nn.Parameter(torch.full((3,), start, dtype=torch.float64))
        self.bad_at, self.calls = bad_at, 0

    def losses(self, batch=None):
        self.calls += 1
        bad = float("nan") if self.calls == self.bad_at else 0.0
        zero = self.w.sum() * 0
        return {"good": ((self.w - 1) ** 4).sum(), "bad": zero + bad, "worse": zero + bad}

    def config(self):
        return {"start": float(self.w[0].detach())}
