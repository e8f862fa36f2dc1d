"""SSBroyden in two processes, each with half of a batch, makes the steps of one."""

import torch
from safetensors.torch import load_file

from pyneural import training
from pyneural.training import TensorBatches, Trainable, Trainer
from tests.processes import run_on_two_processes

SCRIPT = """
import sys
import torch
from pathlib import Path
from safetensors.torch import save_file
from tests.training.test_quasi_newton_distributed import curve_model, curve_data
from pyneural.training import SSBroyden, Trainer
from pyneural.training.distributed import ProcessGroup

torch.set_num_threads(1)
model = curve_model()
group = ProcessGroup.join(model)
Trainer(model, [SSBroyden(15)], batches=curve_data(group), progress=False).fit()
save_file(dict(model.state_dict()), Path(sys.argv[1]) / f"rank{group.rank}.safetensors")
"""


def curve_model():
    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))

    class Curve(Trainable):
        def __init__(self):
            super().__init__()
            self.network = network.double()

        def losses(self, batch):
            return {"square": (self.network(batch.x) - batch.y).square().mean()}

    return Curve()


def curve_data(group):
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return TensorBatches(x, x.prod(1, keepdim=True), None, 40, 7, group)


def test_two_processes_give_the_result_of_one(tmp_path):
    run_on_two_processes(SCRIPT, tmp_path)
    alone = curve_model()
    Trainer(
        alone, [training.SSBroyden(15)], batches=curve_data(training.distributed.SINGLE_PROCESS),
        progress=False,
    ).fit()  # fmt: skip
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    for name, value in alone.state_dict().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], value, rtol=1e-7, atol=1e-9)
