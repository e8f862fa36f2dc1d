"""Several writers and readers of one path, links, folders, and what dead writers leave."""

import errno
import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from pyneural.training import Model, Sequential, callbacks, load_checkpoint, save_checkpoint
from pyneural.training.state.file import previous_path, read_checkpoint
from pyneural.training.state.replacing import replaced
from tests.processes import start
from tests.training.fits import new_model, train


def put(path, step):
    save_checkpoint(path, {"w": torch.full((3000,), float(step))}, {"step": step})


def step_of(path):
    tensors, record = read_checkpoint(path)
    assert torch.equal(tensors["w"], torch.full((3000,), float(record["step"])))
    return record["step"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_readers_always_find_a_whole_file(tmp_path):
    path = tmp_path / "run"
    for step in (0, 1):
        put(path, step)
    done = threading.Event()

    def write():
        for step in range(2, 150):
            put(path, step)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    last = reads = 0
    while not done.is_set():
        step = step_of(path)
        assert step_of(previous_path(path)) <= step_of(path)
        assert step >= last
        last, reads = step, reads + 1
    writer.join()
    assert reads > 10
    assert (step_of(path), step_of(previous_path(path))) == (149, 148)


def test_threads_and_processes_write_one_path(tmp_path):
    path = tmp_path / "run"
    code = f"""
import threading
from tests.training.test_saving_writers import put
errors = []
def write(first):
    try:
        for step in range(first, first + 40):
            put({str(path)!r}, step)
    except BaseException as error:
        errors.append(error)
threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
"""
    processes = [start(code) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert step_of(path) in (39, 139, 239)
    step_of(previous_path(path))
    assert names(tmp_path) == ["run", "run.previous"]


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_by(path, pid):
    """A temporary file as a writer of this number leaves it that was killed."""
    with replaced(path) as temporary:
        name = temporary.name
    left = path.with_name(name.replace(f".{os.getpid()}.", f".{pid}."))
    assert left.name != name or pid == os.getpid()
    left.write_bytes(b"part")
    return left


def test_what_the_dead_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "run.safetensors"
    put(path, 0)
    dead, living = left_by(path, dead_process()), left_by(path, os.getppid())
    ours = left_by(path, os.getpid())
    of_another_file = left_by(tmp_path / "other", dead_process())
    elsewhere = dead.with_name(dead.name.replace(".safetensors.", ".safetensors.other-host-"))
    elsewhere.write_bytes(b"part")
    users = tmp_path / f".{path.name}.tmp"
    users.write_bytes(b"mine")
    put(path, 1)
    assert not dead.exists()
    for kept in (living, ours, of_another_file, elsewhere, users):
        assert kept.exists(), kept
    assert step_of(path) == 1


def test_links(tmp_path):
    (tmp_path / "data").mkdir()
    target, path, far = tmp_path / "data" / "run", tmp_path / "latest", tmp_path / "far"
    path.symlink_to(target)
    far.symlink_to(path)
    for step, name in enumerate((path, far, target)):  # the first makes the file
        put(name, step)
        assert path.is_symlink()
        assert far.is_symlink()
        assert not target.is_symlink()
        assert {step_of(p) for p in (path, far, target)} == {step}
    assert load_checkpoint(far)[1] == {"step": 2}
    assert names(tmp_path) == ["data", "far", "latest"]
    target.write_bytes(b"no")
    assert load_checkpoint(far)[1] == {"step": 1}
    assert names(tmp_path / "data") == ["run.damaged", "run.previous"]
    put(far, 3)
    assert step_of(target) == 3


def test_link_with_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    path, victim = tmp_path / "run", tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    with replaced(path) as temporary:
        temporary.write_text("whole")
    temporary.symlink_to(victim)
    with pytest.raises(FileExistsError):
        put(path, 1)
    assert victim.read_text() == "precious"
    assert path.read_text() == "whole"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EXDEV])
def test_file_systems_without_hard_links(tmp_path, monkeypatch, number):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "run"
    for step in range(3):
        put(path, step)
    assert (step_of(path), step_of(previous_path(path))) == (2, 1)
    assert names(tmp_path) == ["run", "run.previous"]

    def full(descriptor):
        if os.stat(path).st_size == os.fstat(descriptor).st_size and full.calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        full.calls += 1

    full.calls = 0
    monkeypatch.setattr(os, "fsync", full)  # the copy of the file before does not fit
    with pytest.raises(OSError, match="No space"):
        put(path, 3)
    assert (step_of(path), step_of(previous_path(path))) == (2, 1)
    assert names(tmp_path) == ["run", "run.previous"]


WAYS = {
    "save": lambda path: Sequential([nn.Linear(1, 1)]).save(path),
    "Model.save": lambda path: Model(nn.Linear(1, 1)).save(path),
    "checkpoint": lambda path: train(new_model(), epochs=1, checkpoint=path),
    "ModelCheckpoint": lambda path: train(
        new_model(), epochs=1, extra=[callbacks.ModelCheckpoint(str(path), "loss")]
    ),
    "CSVLogger": lambda path: train(new_model(), epochs=1, extra=[callbacks.CSVLogger(path)]),
}


@pytest.mark.parametrize("way", WAYS)
def test_folder_in_the_place_of_the_file_stays_as_it_was(tmp_path, way):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "data").write_text("precious")
    with pytest.raises(OSError, match=r"expected a file.*results"):
        WAYS[way](folder)
    assert names(tmp_path) == ["results"]
    assert (folder / "data").read_text() == "precious"


def test_folder_with_the_name_of_the_file_before(tmp_path):
    path = tmp_path / "run"
    put(path, 1)
    previous_path(path).mkdir()
    with pytest.raises(OSError, match=r"path: expected a file, got the folder .*run.previous"):
        put(path, 2)
    assert step_of(path) == 1
    assert names(tmp_path) == ["run", "run.previous"]


@pytest.mark.skipif(os.name != "posix", reason="no named pipes")
@pytest.mark.parametrize("way", WAYS)
def test_pipe_in_the_place_of_the_file_stays_as_it_was(tmp_path, way):
    os.mkfifo(tmp_path / "results")
    with pytest.raises(FileExistsError, match=r"expected a file, got something else.*results"):
        WAYS[way](tmp_path / "results")
    assert names(tmp_path) == ["results"]
    assert (tmp_path / "results").is_fifo()


@pytest.mark.parametrize("way", WAYS)
def test_missing_folder_is_made(tmp_path, way):
    path = tmp_path / "some" / "new" / "run.safetensors"
    WAYS[way](path)
    assert path.is_file()
    assert "run.safetensors" in names(path.parent)


def test_errors_name_the_users_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        put(tmp_path / "file" / "run", 1)
    assert ".tmp" not in str(caught.value)
    with pytest.raises(OSError, match="too long") as caught:
        put(tmp_path / ("x" * 300), 1)
    assert ".tmp" not in str(caught.value)
    long = tmp_path / ("é" * 120)  # 240 bytes of 255, of which the temporary name has only some
    with replaced(long) as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["file", long.name]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    put(tmp_path / "run", 1)
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "plain").stat().st_mode
