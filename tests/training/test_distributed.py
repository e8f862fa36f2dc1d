"""Two processes under torchrun give the result of one, and only the first of them writes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.fits import X, Y

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
import torch
from pyneural.training import callbacks
from safetensors.torch import save_file
from tests.training.test_distributed import make, options

torch.set_num_threads(1)
out = Path(sys.argv[1])
make().fit(**(options(out) | {"epochs": 2}))
model = make()
history = model.fit(**options(out), resume=True)
rank = __import__("os").environ["RANK"]
save_file(dict(model.state_dict()), out / f"rank{rank}.safetensors")
save_file({k: torch.tensor(v, dtype=torch.float64) for k, v in history.history.items()},
          out / f"curves{rank}.safetensors")
"""


def make():
    from torch import nn

    from pyneural.training import Sequential

    torch.manual_seed(int(os.environ.get("RANK", "0")) + 3)  # rank 0's weights are taken
    model = Sequential([nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)]).double()
    model.compile("adam", "mse", ["mae"], accumulation_steps=2, clip_norm=1.0)
    return model


def options(out):
    from pyneural.training import callbacks

    return {
        "x": X[:83], "y": Y[:83], "batch_size": 16, "epochs": 3,  # the last batch has three samples
        "validation_data": (X[83:], Y[83:]),
        "verbose": 2,
        "callbacks": [callbacks.CSVLogger(out / "log.csv"),
                      callbacks.ModelCheckpoint(out / "model.safetensors"),
                      callbacks.TerminateOnNaN()],
        "checkpoint": out / "fit.safetensors",
    }  # fmt: skip


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    out = tmp_path_factory.mktemp("torchrun")
    script = out / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, script, out], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def test_two_processes_give_the_result_of_one(together, tmp_path):
    out, _ = together
    alone = make()
    history = alone.fit(**(options(tmp_path) | {"verbose": 0}))
    for rank in (0, 1):
        weights = load_file(out / f"rank{rank}.safetensors")
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(weights[name], value, rtol=1e-9, atol=1e-12)
        curves = load_file(out / f"curves{rank}.safetensors")
        for name, values in history.history.items():
            torch.testing.assert_close(curves[name].tolist(), values, rtol=1e-9, atol=1e-12)


def test_only_the_first_process_writes(together):
    out, printed = together
    assert printed.count("Epoch 3/3") == 1
    assert len((out / "log.csv").read_text().splitlines()) == 4
    assert {path.name for path in out.glob("*.safetensors")} >= {
        "model.safetensors", "model.previous.safetensors", "fit.safetensors",
    }  # fmt: skip
    assert not list(out.glob(".*tmp"))


def test_loader_without_a_distributed_sampler_is_refused():
    from pyneural.training.data.batches import LoaderBatches
    from pyneural.training.distributed import ProcessGroup
    from tests.training.fits import loader

    with pytest.raises(ValueError, match=r"expected a DataLoader with a DistributedSampler"):
        LoaderBatches("fit", loader(), lambda x, y: (x, y), torch.device("cpu"), ProcessGroup(0, 2))


@pytest.mark.parametrize("samples", [8, 9, 11])
def test_parts_of_two_processes_are_the_batch_of_one(samples):
    from pyneural.training.data.batches import TensorBatches
    from pyneural.training.distributed import SINGLE_PROCESS, ProcessGroup

    x = torch.arange(samples)
    groups = [ProcessGroup(rank, 2) for rank in (0, 1)]
    parts = [list(TensorBatches(x, x, None, 4, 7, group).epoch(1)) for group in groups]
    whole = TensorBatches(x, x, None, 4, 7, SINGLE_PROCESS).epoch(1)
    for first, second, batch in zip(*parts, whole, strict=True):
        both = torch.cat([first.x[: first.samples], second.x[: second.samples]])
        assert sorted(both.tolist()) == sorted(batch.x.tolist())
        mean = (first.share * first.x.double().mean() + second.share * second.x.double().mean()) / 2
        assert mean == pytest.approx(batch.x.double().mean().item())
