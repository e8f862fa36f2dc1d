"""Two processes, each with a part of the data, make the steps of one that has all of them."""

import pytest
import torch
from safetensors.torch import load_file

from pyneural.training import LevenbergMarquardt, Trainable, Trainer
from tests.processes import run_on_two_processes
from tests.training.least_squares_problems import Exponentials, flat
from tests.training.problems import small_pinn

SHAPES = {"primal": (10, 4), "dual": (4, 9)}  # residuals and parameters

SCRIPT = """
import os, sys
import torch
from safetensors.torch import save_file
from tests.training.test_levenberg_marquardt_distributed import SHAPES, of_pinn, outcome

torch.set_num_threads(1)
rank = int(os.environ["RANK"])
found = {name: outcome(shape, slice(rank, None, 2)) for name, shape in SHAPES.items()}
found["pinn"] = of_pinn()
save_file(found, f"{sys.argv[1]}/rank{rank}.safetensors")
"""


class Part(Trainable):
    """The mean square of some of the residuals of a problem."""

    def __init__(self, shape, part):
        super().__init__()
        self.whole, self.part = Exponentials(*shape, seed=4), part

    def residual(self):
        mine = self.whole.residual()[self.part]
        return mine / len(mine) ** 0.5

    def least_squares(self, batch=None):
        return {"first": self.residual, "second": lambda: 0.3 * self.residual()}


def outcome(shape, part):
    """Parameters and losses of a training that tries several dampings a step."""
    model = Part(shape, part)
    trainer = Trainer(model, [LevenbergMarquardt(6, damping=50.0)], progress=False)
    trainer.fit()
    rows = torch.tensor(trainer.history.rows, dtype=torch.float64).flatten()
    return torch.cat([flat(model), rows])


def of_pinn():
    """Weights and losses of a PINN with an odd number of points."""
    pinn = small_pinn(points=61, adaptive=False)
    report = pinn.fit(LevenbergMarquardt(5), progress=False)
    rows = torch.tensor(report.step_history.rows, dtype=torch.float64).flatten()
    return torch.cat([flat(pinn), rows])


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    out = tmp_path_factory.mktemp("torchrun")
    run_on_two_processes(SCRIPT, out)
    return [load_file(out / f"rank{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("form", SHAPES)
def test_two_processes_give_the_result_of_one(together, form):
    alone = outcome(SHAPES[form], slice(None))
    first, second = (found[form] for found in together)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=1e-9, atol=1e-12)


def test_a_pinn_shares_its_points_out(together):
    first, second = (found["pinn"] for found in together)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, of_pinn(), rtol=1e-6, atol=1e-9)


def test_parts_of_the_points():
    pinn = small_pinn(points=61)
    parts = [pinn.part_of_data(rank, 3) for rank in range(3)]
    numbers = torch.cat([part.x for part in parts])
    assert sorted(numbers.tolist()) == list(range(61))
    whole = pinn.losses()["residual"]
    mean = sum(part.share / 3 * pinn.losses(part)["residual"] for part in parts)
    torch.testing.assert_close(mean, whole)
    assert pinn.part_of_data(0, 1) is None
