"""Checkpoints: written whole or not at all, damage refused, the one before used instead."""

import os
import signal

import pytest
import torch
from safetensors.torch import save_file

from pyneural.training import CheckpointError, check_writable, load_checkpoint, save_checkpoint
from pyneural.training.state.file import previous_path
from tests.processes import start


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of step 2 with that of step 1 before it."""
    path = tmp_path / "run.safetensors"
    for step in (1, 2):
        save_checkpoint(path, {"w": torch.full((100,), float(step))}, {"step": step})
    return path


def test_last_and_the_one_before_are_kept(saved):
    tensors, record, refused = load_checkpoint(saved)
    assert (record, refused) == ({"step": 2}, [])
    assert torch.equal(tensors["w"], torch.full((100,), 2.0))
    assert load_checkpoint(previous_path(saved))[1] == {"step": 1}
    assert len(list(saved.parent.iterdir())) == 2, "temporary files are left"


@pytest.mark.parametrize("kept", [0, 4, 50, 0.5, 0.999])
def test_truncated_file_is_refused_and_the_one_before_used(saved, kept):
    data = saved.read_bytes()
    saved.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    _, record, refused = load_checkpoint(saved)
    assert record == {"step": 1}
    assert len(refused) == 1
    assert str(saved) in refused[0]
    assert "damaged" in refused[0]


def test_a_damaged_file_never_takes_the_place_of_the_good_one(saved):
    saved.write_bytes(b"no")
    assert load_checkpoint(saved)[1] == {"step": 1}
    save_checkpoint(saved, {"w": torch.zeros(1)}, {"step": 3})
    assert load_checkpoint(saved)[1] == {"step": 3}
    assert load_checkpoint(previous_path(saved))[1] == {"step": 1}
    assert saved.with_suffix(".damaged").read_bytes() == b"no"


@pytest.mark.parametrize("where", ["tensor", "record"])
def test_tampered_file_is_refused(saved, where):
    data = bytearray(saved.read_bytes())
    if where == "tensor":
        data[-10] ^= 1
    else:
        place = data.index(b'step\\": 2') + len(b'step\\": ')
        data[place : place + 1] = b"3"
    saved.write_bytes(data)
    _, record, refused = load_checkpoint(saved)
    assert record == {"step": 1}
    assert "SHA-256" in refused[0]


def test_both_damaged_or_none_is_an_error(saved):
    for path in (saved, previous_path(saved)):
        path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)
    with pytest.raises(CheckpointError, match="got none"):
        load_checkpoint(saved.with_name("other.safetensors"))


def test_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="expected the format"):
        load_checkpoint(path)


def test_failed_write_keeps_what_was_there(saved, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(saved, {"w": torch.ones(2)}, {"step": 3})
    monkeypatch.undo()
    assert load_checkpoint(saved)[1:] == ({"step": 2}, [])
    assert len(list(saved.parent.iterdir())) == 2, "temporary files are left"


@pytest.mark.parametrize("call", ["fsync", "link", "replace", "second replace"])
def test_death_at_any_call_leaves_a_good_checkpoint(saved, call):
    """The writer is killed just before the call; what is left can be read."""
    code = f"""
import os, signal, torch
from pyneural.training import save_checkpoint
name, before = {call.split()[-1]!r}, getattr(os, {call.split()[-1]!r})
left = {2 if " " in call else 1}
def die(*arguments, **options):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments, **options)
setattr(os, name, die)
save_checkpoint({str(saved)!r}, {{"w": torch.ones(2)}}, {{"step": 3}})
"""
    writer = start(code)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    done = 3 if call == "second replace" else 2  # that of the name of the file before
    assert load_checkpoint(saved)[1:] == ({"step": done}, [])
    assert load_checkpoint(previous_path(saved))[1] == {"step": 1}
    save_checkpoint(saved, {"w": torch.ones(2)}, {"step": 4})
    assert len(list(saved.parent.iterdir())) == 2, "what the dead writer left is still there"


def test_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"--out: expected a directory .*file.*choose another"):
        check_writable(tmp_path / "file" / "below", "--out")
