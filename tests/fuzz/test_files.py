"""Damaged files: each is refused as such, or is that of before; nothing else is ever loaded."""

from __future__ import annotations

import random
import time

import pytest
import torch
from torch import nn

from pyneural.training import CheckpointError, Sequential, load_checkpoint, load_model
from pyneural.training.state.file import previous_path
from tests.training.fits import new_model, train, weights


def damaged(draw, data):
    """The bytes with some of the things that happen to files."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        place, other = draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)
        kind = draw.choice(("flip", "flip", "header", "cut", "zeros", "more", "swap", "same"))
        if kind in ("flip", "header") and data:
            place = draw.randrange(min(len(data), 2000 if kind == "header" else len(data)))
            data[place] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[place:]
        elif kind == "zeros":  # a block that never came to the disk
            data[place : place + 512] = bytes(len(data[place : place + 512]))
        elif kind == "more":
            data += draw.randbytes(draw.choice((1, 8, 600)))
        elif kind == "swap":
            a, b = data[place : place + 64], data[other : other + 64]
            data[place : place + 64], data[other : other + 64] = b, a
        elif kind == "same":
            data[place:place] = data[place : place + draw.choice((1, 8))]
    return bytes(data)


def test_checkpoints(tmp_path, seed, fuzz_seconds):
    path = tmp_path / "fit.safetensors"
    train(new_model(), epochs=2, checkpoint=path, every=1e9)
    files = path.read_bytes(), previous_path(path).read_bytes()
    states = [load_checkpoint(path)[1]["state"]["place"]]
    path.unlink()
    states.append(load_checkpoint(path)[1]["state"]["place"])
    assert states[0] != states[1]
    end, number = time.monotonic() + fuzz_seconds, 0
    while time.monotonic() < end:
        number += 1
        draw = random.Random(f"{seed}/{number}")
        case = f"--seed {seed}, case {number}"
        harmed = damaged(draw, files[0])
        path.write_bytes(harmed)
        previous_path(path).write_bytes(files[1])
        _, record, refused = load_checkpoint(path)
        whole = harmed == files[0]
        assert record["state"]["place"] == states[0 if whole else 1], case
        assert len(refused) == (0 if whole else 1), case
        path.write_bytes(harmed)
        harmed = damaged(draw, files[1])
        previous_path(path).write_bytes(harmed)
        if not whole and harmed != files[1]:
            with pytest.raises(CheckpointError):
                load_checkpoint(path)
    assert number > 5


def test_models(tmp_path, seed, fuzz_seconds):
    path = tmp_path / "model.safetensors"
    tied = nn.Linear(4, 4)
    model = Sequential([nn.Linear(3, 4), tied, nn.Tanh(), tied, nn.BatchNorm1d(4)])
    model.save(path)
    data, state = path.read_bytes(), model.state_dict()
    end, number = time.monotonic() + fuzz_seconds, 0
    while time.monotonic() < end:
        number += 1
        harmed = damaged(random.Random(f"{seed}/{number}"), data)
        path.write_bytes(harmed)
        try:
            again = load_model(path)
        except CheckpointError:
            assert harmed != data, f"--seed {seed}, case {number}"
            continue
        assert harmed == data, f"--seed {seed}, case {number}"
        assert all(torch.equal(again.state_dict()[name], v) for name, v in state.items())
    assert number > 5


def test_resuming_from_the_file_before_has_the_bits_of_a_training_that_was_not_stopped(
    tmp_path, seed
):
    path = tmp_path / "fit.safetensors"
    train(new_model(), epochs=3, checkpoint=path, every=1e9)
    data = path.read_bytes()
    draw = random.Random(seed)
    harmed = damaged(draw, data)
    path.write_bytes(harmed if harmed != data else data[:-1])
    model = new_model()
    with pytest.warns(UserWarning, match="the one before it is used"):
        train(model, epochs=4, checkpoint=path, resume=True)
    whole = new_model()
    train(whole, epochs=4)
    assert torch.equal(weights(model), weights(whole)), f"--seed {seed}"
