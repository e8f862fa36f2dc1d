"""Two processes have the collocation points of the first one, with their importance weights."""

from safetensors.torch import load_file

from tests.processes import run_on_two_processes

SCRIPT = """
import os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from pyneural import models, nn, pde
from pyneural.training import SPRING, Adam, callbacks

out, rank = Path(sys.argv[1]), int(os.environ["RANK"])

def pinn(**options):
    torch.manual_seed(0)
    burgers = pde.Burgers()
    network = nn.MLP(2, [6], 1, input_range=burgers.domain.range).double()
    generator = torch.Generator().manual_seed(rank)
    conditions = burgers.conditions(10, dtype=torch.float64)
    model = models.PINN(
        network, conditions, equation=burgers, points=40, generator=generator, **options
    )
    sizes = model._sizes
    model._sizes = lambda x: sizes(x) ** (1 + rank)  # as if machines differed
    return model

def keep(name, model):
    tensors = {"points": model.collocation, "weights": model.collocation_weights}
    save_file(tensors, out / f"{name}{rank}.safetensors")

before = pinn()
before.resample(adaptive=True, count=30 + 5 * rank)
before.fit(Adam(2), progress=False)
keep("before", before)
phases = pinn(adaptive=True)
phases.fit([Adam(2), Adam(2)], progress=False)
keep("phases", phases)
callback = pinn()
callback.fit(Adam(4), callbacks=[callbacks.Resample(2, adaptive=True)], progress=False)
keep("callback", callback)
data = pde.Data(torch.rand(4, 2), torch.rand(4))
models.PINN(nn.MLP(2, [4], 1), {"data": data}, domain=pde.Box(t=(0, 1), x=(0, 1))).fit(
    Adam(2), progress=False
)
"""


def test_points_and_weights_are_those_of_the_first_process(tmp_path):
    run_on_two_processes(SCRIPT, tmp_path)
    for name in ("before", "phases", "callback"):
        first, second = (load_file(tmp_path / f"{name}{rank}.safetensors") for rank in (0, 1))
        assert first["points"].equal(second["points"]), name
        assert first["weights"].equal(second["weights"]), name
        assert len(first["points"]) == (30 if name == "before" else 40)
        assert first["weights"].std() > 0
