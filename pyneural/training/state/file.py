"""Checkpoints: one safetensors file with JSON in its header, replaced in one step.

Weights, optimiser, points and the record of the training go into a single file, so that no two
files can disagree. A writer that dies at any instant leaves the file before it, or the new one,
never a part of one; and the file before is kept under another name.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

FORMAT = "pyneural checkpoint 1"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another training."""


def previous_path(path: str | os.PathLike[str]) -> Path:
    """Where the checkpoint before the last one is kept, as burgers.previous.safetensors."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def check_writable(directory: str | os.PathLike[str], argument: str = "directory") -> Path:
    """Makes a directory if there is none and tries to write in it; OSError where that fails.

    >>> with tempfile.TemporaryDirectory() as parent:
    ...     check_writable(Path(parent) / "new").is_dir()
    True
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        raise OSError(
            f"{argument}: expected a directory that can be written, got {str(directory)!r} "
            f"({error.strerror}); choose another one"
        ) from error


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary name for a file that takes the place of ``path`` once it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Writes tensors and a JSON record to one file, atomically.

    The new file is complete on the disk, under a temporary name, before it takes the place of the
    last one, which becomes ``previous_path(path)``.

    Args:
        path: of the file; its directory exists. OSError where it cannot be written.
        tensors: by name, any device.
        record: what JSON can hold.

    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "run.safetensors"
    ...     save_checkpoint(path, {"w": torch.ones(2)}, {"step": 7})
    ...     tensors, record, _ = load_checkpoint(path)
    >>> tensors["w"].tolist(), record["step"]
    ([1.0, 1.0], 7)
    """
    path = Path(path)
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(dict(record))
    header = {"format": FORMAT, "record": text, "sha256": _digest(stored, text)}
    with replaced(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(save(stored, metadata=header))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, previous_path(path))
    if os.name == "posix":  # lets the renames last through a loss of power
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def load_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Tensor], dict[str, Any], list[str]]:
    """Reads the last good checkpoint: that at ``path`` or else the one before.

    Returns:
        tensors on the CPU, the record, and a text for each file that was refused. A damaged file
        is renamed to ``*.damaged`` where the one before it is good.

    CheckpointError if neither file is there, or both are damaged.
    """
    refused: list[str] = []
    for candidate in (Path(path), previous_path(path)):
        try:
            tensors, record = read_checkpoint(candidate)
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            refused.append(str(error))
            continue
        if refused:  # the next checkpoint must not put the damaged file in the good one's place
            with contextlib.suppress(OSError):
                os.replace(path, Path(path).with_suffix(".damaged"))
        return tensors, record, refused
    missing = f"checkpoint: expected a file {str(path)!r}, got none; start without resuming"
    raise CheckpointError("; ".join(refused) or missing)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU and the record of that very file, which may be missing or damaged."""

    def damaged(why: object) -> CheckpointError:
        return CheckpointError(
            f"checkpoint: {path}: expected a whole file, got a damaged one ({why}); delete it"
        )

    data = path.read_bytes()
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")  # of the header, which follows these 8 bytes
        header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except SafetensorError as error:
        raise damaged(error) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint: {path}: expected the format {FORMAT!r}, got {header.get('format')!r}; "
            "give a checkpoint that pyneural's trainer wrote"
        )
    if _digest(tensors, header["record"]) != header.get("sha256"):
        raise damaged("its content does not match its SHA-256 sum")
    return tensors, json.loads(header["record"])


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
