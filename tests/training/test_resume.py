"""A fit that is stopped, killed or damaged goes on with the bits of one that was not."""

import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from pyneural.training import CheckpointError, load_checkpoint
from pyneural.training.callbacks import Callback
from pyneural.training.state.file import previous_path
from tests.processes import start
from tests.training.fits import X, Y, new_model, train, weights


class Pause(Callback):
    """Ctrl-C during a batch, counted over the whole training."""

    def __init__(self, batch):
        self.left = batch

    def on_train_batch_end(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class Never(Pause):
    def __init__(self):
        super().__init__(-1)


Never.__name__ = "Pause"  # the resumed training has the callbacks of the first


@pytest.fixture(scope="module", params=["arrays", "loader", "own generator"])
def uninterrupted(request):
    model = new_model()
    history = train(model, request.param, extra=[Never()])
    return request.param, weights(model), history.history


@pytest.mark.parametrize("batch", [1, 5, 6, 7, 20, 35])
def test_resumed_equals_uninterrupted_bit_by_bit(tmp_path, uninterrupted, batch):
    data, expected, curves = uninterrupted
    path = tmp_path / "fit.safetensors"
    first = train(new_model(), data, extra=[Pause(batch)], checkpoint=path, every=1e9)
    assert first.stopped == "interrupted"
    torch.manual_seed(99)
    model = new_model()
    torch.rand(7)
    history = train(model, data, extra=[Never()], checkpoint=path, resume=True)
    assert torch.equal(weights(model), expected)
    assert history.history == curves


def test_checkpoints_inside_an_epoch(tmp_path):
    class Crash(Pause):
        def on_train_batch_end(self):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("power cut")

    Crash.__name__ = "Pause"
    path = tmp_path / "fit.safetensors"
    with pytest.raises(RuntimeError, match="power cut"):
        train(new_model(), extra=[Crash(10)], checkpoint=path, every=0.0)
    place = load_checkpoint(path)[1]["state"]["place"]
    assert (place["epoch"], place["step"]) == (1, 3)  # of 6 batches an epoch
    model = new_model()
    train(model, extra=[Never()], checkpoint=path, resume=True)
    whole = new_model()
    train(whole, extra=[Never()])
    assert torch.equal(weights(model), weights(whole))


def test_killed_fit_goes_on_with_the_same_numbers(tmp_path, threads):
    threads(1)  # those of the process that is killed: sums of two threads have other bits
    path = tmp_path / "fit.safetensors"
    code = f"""
import time
from pyneural.training.callbacks import Callback
from tests.training.fits import new_model, train
class Pause(Callback):
    def on_train_batch_end(self):
        time.sleep(0.02)
train(new_model(), epochs=8, extra=[Pause()], checkpoint={str(path)!r}, every=0.0)
"""
    process = start(code)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.is_alive(), "the training ended before it was killed"
            if path.exists() and load_checkpoint(path)[1]["state"]["place"]["epoch"] >= 2:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    epoch = load_checkpoint(path)[1]["state"]["place"]["epoch"]
    assert 2 <= epoch < 8
    resumed = new_model()
    history = train(resumed, epochs=8, extra=[Never()], checkpoint=path, resume=True)
    whole = new_model()
    expected = train(whole, epochs=8, extra=[Never()])
    assert torch.equal(weights(resumed), weights(whole))
    assert history.history == expected.history


@pytest.mark.parametrize("damage", ["truncated", "tampered"])
def test_damaged_checkpoint_is_refused_and_the_one_before_used(tmp_path, damage):
    path = tmp_path / "fit.safetensors"
    train(new_model(), epochs=4, extra=[Never()], checkpoint=path, every=1e9)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data[:-7] if damage == "truncated" else data)
    model = new_model()
    with pytest.warns(UserWarning, match=r"damaged.*the one before it is used"):
        history = train(model, epochs=6, extra=[Never()], checkpoint=path, resume=True)
    whole = new_model()
    expected = train(whole, epochs=6, extra=[Never()])
    assert torch.equal(weights(model), weights(whole))
    assert history.history == expected.history
    for file in (path, previous_path(path)):
        file.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="damaged"):
        train(new_model(), extra=[Never()], checkpoint=path, resume=True)


def test_more_epochs_and_a_finished_training(tmp_path):
    path = tmp_path / "fit.safetensors"
    model = new_model()
    assert len(train(model, epochs=2, checkpoint=path, resume=True)) == 2
    again = new_model()
    assert len(train(again, epochs=2, checkpoint=path, resume=True)) == 2
    assert torch.equal(weights(model), weights(again))
    assert train(new_model(), epochs=3, checkpoint=path, resume=True).epoch == [0, 1, 2]


def test_another_training_is_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    train(new_model(), epochs=1, checkpoint=path)
    other = new_model()
    other.compile("adam", "hinge", ["mae"])
    with pytest.raises(CheckpointError, match=r"fit: loss: expected mean_squared_error.*hinge"):
        train(other, checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match=r"fit: callbacks: expected .*Pause"):
        train(new_model(), extra=[Never()], checkpoint=path, resume=True)


class Noise(Dataset):
    """Samples that a user's code changes by random numbers of its own."""

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        noise = np.random.normal() + random.gauss(0.0, 1.0) + float(torch.rand(()))  # noqa: NPY002
        return torch.from_numpy(X[row]) + noise, torch.from_numpy(Y[row])


@pytest.mark.parametrize("batch", [6, 9])
def test_random_numbers_of_numpy_and_python_come_back(tmp_path, batch):
    def fit(seed, pause, **options):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        model = new_model()
        pause.left = batch * options.pop("pauses")
        model.fit(DataLoader(Noise(), 16), epochs=3, verbose=0, callbacks=[pause], **options)
        return weights(model)

    path = tmp_path / "fit.safetensors"
    whole = fit(1, Never(), pauses=-1)
    fit(1, Pause(0), pauses=1, checkpoint=path, every=1e9)
    resumed = fit(2, Never(), pauses=-1, checkpoint=path, resume=True)
    assert torch.equal(resumed, whole)


def test_float16_scaler_comes_back(tmp_path):
    path = tmp_path / "fit.safetensors"
    options = {"mixed_precision": torch.float16}
    whole = new_model(**options)
    train(whole, epochs=4)
    train(new_model(**options), epochs=2, checkpoint=path)
    model = new_model(**options)
    train(model, epochs=4, checkpoint=path, resume=True)
    assert torch.equal(weights(model), weights(whole))


def test_disk_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"fit: checkpoint: expected a directory"):
        train(new_model(), checkpoint=tmp_path / "file" / "fit.safetensors")
